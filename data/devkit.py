"""A tiny VOC devkit of drawn shapes, written to disk: images, masks, annotations and lists.

For smoke runs and tests, which go through the same files as real data without a download. Each
class is a colour and, by its parity, an ellipse or a rectangle, on a background of dim noise.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from data.batches import DataError
from data.files import data_root
from data.voc import Voc, voc_detection, voc_segmentation
from data.voc_files import IGNORE
from data.voc_lists import CLASSES

_CLASSES_DRAWN = (8, 12, 15)  # few, so that a run of seconds can learn them


@dataclass(frozen=True)
class Shape:
    """One object: its class from 1, and its box in pixels from 0, the last ones included."""

    label: int
    x0: int
    y0: int
    x1: int
    y1: int


def drawn_segmentation(root: str, images: int, test_images: int, **keys: Any) -> Voc:
    """voc_segmentation with `keys` on a devkit of drawn shapes, written below `root` if absent."""
    return _named(voc_segmentation(_folder(root, images, test_images), **keys))


def drawn_detection(root: str, images: int, test_images: int, **keys: Any) -> Voc:
    """voc_detection with `keys` on a devkit of drawn shapes, written below `root` if absent."""
    return _named(voc_detection(_folder(root, images, test_images), **keys))


def _named(data: Voc) -> Voc:
    return replace(data, provenance={**data.provenance, "name": "drawn shapes"})


def _folder(root: str, images: int, test_images: int) -> str:
    folder = data_root(root) / f"drawn-{images}-{test_images}"
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="tmp-"))
        except OSError as error:
            raise DataError(
                f"drawn shapes cannot be written to {folder} ({error}): name a folder that can be "
                "written to with data.root=… or the variable LRD_DATA"
            ) from error
        write_devkit(aside, images, test_images)
        try:
            os.rename(aside, folder)
        except OSError:
            shutil.rmtree(aside)
            if not folder.is_dir():  # another run has not written the same meanwhile
                raise
    return str(folder)


def write_devkit(root: Path, images: int, test_images: int, side: int = 96) -> None:
    """Write <root>/VOCdevkit/VOC2012 and VOC2007, for both tasks, with `images` to train on.

    Half of the training images have no mask in SegmentationClass, as the augmented set's have
    not. Sides are at most `side` pixels and differ, as VOC's do.
    """
    half = max(1, images // 2)
    train = [f"2012_{number:06d}" for number in range(images)]
    val = [f"2012_{number:06d}" for number in range(images, images + test_images)]
    folder = root / "VOCdevkit" / "VOC2012"
    _write_images(folder, train + val, side)
    for name in train[half:]:
        (folder / "SegmentationClass" / f"{name}.png").unlink()
    _write_lists(folder / "ImageSets/Segmentation", train=train[:half], val=val, trainaug=train)
    _write_lists(folder / "ImageSets/Main", train=train, val=val, trainval=train)
    train = [f"{number:06d}" for number in range(half)]
    test = [f"{number:06d}" for number in range(half, half + test_images)]
    folder = root / "VOCdevkit" / "VOC2007"
    _write_images(folder, train + test, side)
    _write_lists(folder / "ImageSets/Main", trainval=train, test=test)


def _write_images(folder: Path, names: Sequence[str], side: int) -> None:
    for part in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug"):
        (folder / part).mkdir(parents=True)
    for name in names:
        random = np.random.default_rng([ord(letter) for letter in name])
        size = (side, side * 3 // 4) if random.random() < 0.5 else (side * 3 // 4, side)
        shapes = [_random_shape(random, size) for _ in range(random.integers(1, 3))]
        image, mask = draw(size, shapes, random)
        image.save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        mask.save(folder / "SegmentationClass" / f"{name}.png")
        mask.save(folder / "SegmentationClassAug" / f"{name}.png")
        ElementTree.ElementTree(annotation(name, size, shapes)).write(
            folder / "Annotations" / f"{name}.xml"
        )


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
        box = (shape.x0, shape.y0, shape.x1, shape.y1)
        kind = "ellipse" if shape.label % 2 else "rectangle"
        getattr(on_image, kind)(box, fill=_colour(shape.label))
        getattr(on_mask, kind)(box, fill=shape.label, outline=IGNORE)
    return image, mask


def _colour(label: int) -> tuple[int, int, int]:
    """Bright and different for all of VOC's classes; black for the background."""
    return (0, 0, 0) if label == 0 else tuple(100 + label * step % 156 for step in (37, 71, 113))


def annotation(name: str, size: tuple[int, int], shapes: Sequence[Shape]) -> ElementTree.Element:
    """The devkit's XML of an image; pixels count from 1, and the last ones belong to a box."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    extent = ElementTree.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*size, 3), strict=True):
        ElementTree.SubElement(extent, tag).text = str(value)
    for shape in shapes:
        found = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(found, "name").text = CLASSES[shape.label - 1]
        ElementTree.SubElement(found, "difficult").text = "0"
        box = ElementTree.SubElement(found, "bndbox")
        for tag, value in zip(
            ("xmin", "ymin", "xmax", "ymax"),
            (shape.x0 + 1, shape.y0 + 1, shape.x1 + 1, shape.y1 + 1),
            strict=True,
        ):
            ElementTree.SubElement(box, tag).text = str(value)
    return root


def _write_lists(folder: Path, **lists: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for name, images in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{image}\n" for image in images))
