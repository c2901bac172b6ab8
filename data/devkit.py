"""A tiny VOC devkit of drawn shapes, written to disk: images, masks, annotations and lists.

For smoke runs and tests, which go through the same files as real data without a download. Each
class is a colour and, by its parity, an ellipse or a rectangle, on a background of dim noise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from data.batches import DataError
from data.files import data_root
from data.voc import Voc, voc_detection, voc_segmentation
from data.voc_files import IGNORE
from data.voc_lists import CLASSES

_CLASSES_DRAWN = (8, 12, 15)  # few, so that a run of seconds can learn them


class Shape(NamedTuple):
    """One object: its class from 1, and its box in pixels from 0, the last ones included."""

    label: int
    x0: int
    y0: int
    x1: int
    y1: int


def drawn_segmentation(root: str, images: int, test_images: int, **keys: Any) -> Voc:
    """voc_segmentation with `keys` on a devkit of drawn shapes, written below `root` if absent."""
    return _drawn(voc_segmentation, root, images, test_images, keys)


def drawn_detection(root: str, images: int, test_images: int, **keys: Any) -> Voc:
    """voc_detection with `keys` on a devkit of drawn shapes, written below `root` if absent."""
    return _drawn(voc_detection, root, images, test_images, keys)


def _drawn(
    read: Callable[..., Voc], root: str, images: int, test_images: int, keys: dict[str, Any]
) -> Voc:
    folder = data_root(root) / f"drawn-{images}-{test_images}"
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="tmp-") as aside:
                write_devkit(Path(aside, "devkit"), images, test_images)
                Path(aside, "devkit").rename(folder)
        except OSError as error:
            if not folder.is_dir():  # another run has not written the same meanwhile
                raise DataError(
                    f"drawn shapes cannot be written to {folder} ({error}): name a folder that "
                    "can be written to with data.root=…"
                ) from error
    data = read(str(folder), **keys)
    return replace(data, provenance={**data.provenance, "name": "drawn shapes"})


def write_devkit(root: Path, images: int, test_images: int) -> None:
    """Write <root>/VOCdevkit/VOC2012 and VOC2007, for both tasks, with `images` to train on.

    Half of the training images have no mask in SegmentationClass, as the augmented set's have
    not. Sides are 72 and 96 pixels, as VOC's differ.
    """
    half = max(1, images // 2)
    train = [f"2012_{number:06d}" for number in range(images)]
    val = [f"2012_{number:06d}" for number in range(images, images + test_images)]
    folder = root / "VOCdevkit" / "VOC2012"
    _write_images(folder, train + val)
    for name in train[half:]:
        (folder / "SegmentationClass" / f"{name}.png").unlink()
    _write_lists(folder / "ImageSets/Segmentation", train=train[:half], val=val, trainaug=train)
    _write_lists(folder / "ImageSets/Main", train=train, val=val, trainval=train)
    train = [f"{number:06d}" for number in range(half)]
    test = [f"{number:06d}" for number in range(half, half + test_images)]
    folder = root / "VOCdevkit" / "VOC2007"
    _write_images(folder, train + test)
    _write_lists(folder / "ImageSets/Main", trainval=train, test=test)


def _write_images(folder: Path, names: Sequence[str]) -> None:
    for kind in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug"):
        (folder / kind).mkdir(parents=True)
    for name in names:
        random = np.random.default_rng([ord(letter) for letter in name])
        size = (96, 72) if random.random() < 0.5 else (72, 96)
        shapes = [_random_shape(random, size) for _ in range(random.integers(1, 3))]
        image, mask = draw(size, shapes, random)
        image.save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        mask.save(folder / "SegmentationClass" / f"{name}.png")
        mask.save(folder / "SegmentationClassAug" / f"{name}.png")
        (folder / "Annotations" / f"{name}.xml").write_text(annotation(name, size, shapes))


def _random_shape(random: np.random.Generator, size: tuple[int, int]) -> Shape:
    width, height = (int(side * random.uniform(0.35, 0.6)) for side in size)
    x0, y0 = int(random.integers(size[0] - width)), int(random.integers(size[1] - height))
    return Shape(int(random.choice(_CLASSES_DRAWN)), x0, y0, x0 + width - 1, y0 + height - 1)


def draw(
    size: tuple[int, int], shapes: Sequence[Shape], random: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """An image and its mask, of `size` (width, height); later shapes cover earlier ones.

    A mask's objects have a border of the ignored value, as VOC's have.
    """
    noise = random.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    image, mask = Image.fromarray(noise), Image.new("P", size)
    mask.putpalette([value for label in range(256) for value in _colour(label)])
    on_image, on_mask = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    for shape in shapes:
        kind = "ellipse" if shape.label % 2 else "rectangle"
        getattr(on_image, kind)(shape[1:], fill=_colour(shape.label))
        getattr(on_mask, kind)(shape[1:], fill=shape.label, outline=IGNORE)
    return image, mask


def _colour(label: int) -> tuple[int, int, int]:
    """Bright and different for all of VOC's classes; black for the background."""
    return (0, 0, 0) if label == 0 else tuple(100 + label * step % 156 for step in (37, 71, 113))


def annotation(name: str, size: tuple[int, int], shapes: Sequence[Shape]) -> str:
    """The devkit's XML of an image; pixels count from 1, and the last ones belong to a box."""
    objects = "".join(
        f"<object><name>{CLASSES[shape.label - 1]}</name><difficult>0</difficult><bndbox>"
        f"<xmin>{shape.x0 + 1}</xmin><ymin>{shape.y0 + 1}</ymin>"
        f"<xmax>{shape.x1 + 1}</xmax><ymax>{shape.y1 + 1}</ymax></bndbox></object>"
        for shape in shapes
    )
    extent = f"<width>{size[0]}</width><height>{size[1]}</height><depth>3</depth>"
    return f"<annotation><filename>{name}.jpg</filename><size>{extent}</size>{objects}</annotation>"


def _write_lists(folder: Path, **lists: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for name, images in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{image}\n" for image in images))
