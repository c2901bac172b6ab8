"""The devkit's files: images, masks and annotations, each checked once and read as it was then."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor
from torchvision import tv_tensors

from data.batches import DataError
from data.files import CheckedFile, checked, decode_image, decoding, image_size
from data.samples import Sample
from data.voc_lists import CLASSES

IGNORE = 255  # the mask value of object borders and padding
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Entry(NamedTuple):
    """An image's file, its mask's or annotation's, its size, and the annotation's objects."""

    image: CheckedFile
    truth: CheckedFile
    size: tuple[int, int]  # width, height
    target: dict[str, Tensor] | None = None  # the objects
    clipped: int = 0  # boxes, to the image
    dropped: int = 0  # boxes, as nothing of them was in the image

    def read(self) -> Sample:
        """The image (3, H, W) uint8, and its mask or objects. DataError if they are damaged."""
        pixels = decode_image(self.image.read(), self.image.path, "RGB")
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
        if self.target is not None:
            return image, self.target
        mask = decode_mask(self.truth.read(), self.truth.path)
        if mask.shape != image.shape[1:]:
            raise DataError(
                f"{self.truth.path} has {tuple(mask.shape)} pixels, its image {self.image.path} "
                f"{tuple(image.shape[1:])}: one of them is not the devkit's, restore it"
            )
        return image, mask


def masked(folder: Path, name: str) -> Entry:
    """The image and mask of a name: VOC's own mask, or the augmented set's, or SBD's.

    VOC's own comes first also where the augmented set has another one, as of images to test on.
    DataError if one is missing, or the image is none.
    """
    image, content = checked(_devkit_file(folder, "JPEGImages", name, ".jpg"))
    kinds = ("SegmentationClass", "SegmentationClassAug")
    paths = [_devkit_file(folder, kind, name, ".png") for kind in kinds]
    paths.append(folder.parents[1] / "sbd" / "cls" / f"{name}.mat")
    masks = [path for path in paths if path.is_file()]
    if not masks:
        raise DataError(
            f"no mask of {name}: expected one of {', '.join(map(str, paths))}. Restore it"
        )
    return Entry(image, checked(masks[0])[0], image_size(content, image.path))


def boxed(folder: Path, name: str) -> Entry:
    """The image and objects of a name. DataError if missing or damaged."""
    image, content = checked(_devkit_file(folder, "JPEGImages", name, ".jpg"))
    size = image_size(content, image.path)
    annotation, content = checked(_devkit_file(folder, "Annotations", name, ".xml"))
    return Entry(image, annotation, size, *decode_objects(content, annotation.path, size))


def _devkit_file(folder: Path, kind: str, name: str, ending: str) -> Path:
    """A file of the devkit, whose ending some copies have in capitals."""
    path = folder / kind / f"{name}{ending}"
    capital = path.with_suffix(ending.upper())
    return capital if capital.is_file() and not path.is_file() else path


def decode_mask(content: bytes, path: Path) -> tv_tensors.Mask:
    """A mask (H, W) uint8 of class numbers and IGNORE. DataError for anything else."""
    expected = f"a mask of classes 0 … {len(CLASSES)} and {IGNORE} (ignored)"
    with decoding(path, expected, also=(MatReadError,)):
        if path.suffix == ".mat":
            objects = loadmat(BytesIO(content), variable_names="GTcls")["GTcls"]
            classes = np.asarray(objects["Segmentation"][0, 0])
        else:
            classes = decode_image(content, path)
        if classes.ndim != 2 or classes.dtype.kind not in "biu":
            raise ValueError(f"{classes.dtype} of shape {classes.shape}, not grey or a palette's")
        unknown = np.setdiff1d(classes, [*range(len(CLASSES) + 1), IGNORE])
        if len(unknown):
            raise ValueError(f"class {unknown[0]}")
        return tv_tensors.Mask(torch.from_numpy(classes.astype(np.uint8)))


def decode_objects(
    content: bytes, path: Path, size: tuple[int, int]
) -> tuple[dict[str, Tensor], int, int]:
    """The objects of an annotation's XML, for an image of `size` (width, height).

    Boxes (K, 4) float32 as x0, y0, x1, y1 in pixels from 0, labels (K,) from 1, and difficult (K,)
    bool; then how many boxes were clipped to the image, and how many dropped as no area was left.
    VOC counts pixels from 1 and includes the last one, so that a box is xmin − 1 … xmax. DataError,
    which names `path`, for bad XML, a missing or unreadable element, or a class that VOC has not.
    """
    boxes, labels, difficult = [], [], []
    clipped = dropped = 0
    width, height = size
    with decoding(path, "XML", "restore it, or save it as UTF-8"):
        root = ElementTree.fromstring(content)
    for element in root.iter("object"):
        name = element.findtext("name", "").strip()
        with decoding(f"an object of {path}", "one of VOC's 20 classes in a box of four numbers"):
            if name not in CLASSES:
                raise ValueError(f"its class is {name!r}")
            x0, y0, x1, y1 = (float(element.findtext(f"bndbox/{tag}", "")) for tag in _CORNERS)
            if not math.isfinite(x0 + y0 + x1 + y1):
                raise ValueError(f"its box is {x0}, {y0}, {x1}, {y1}")
        box = [x0 - 1, y0 - 1, x1, y1]
        inside = [max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)]
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            dropped += 1
            continue
        clipped += inside != box
        boxes.append(inside)
        labels.append(CLASSES.index(name) + 1)
        difficult.append(element.findtext("difficult", "0").strip() == "1")
    corners = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    target = {
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(height, width)),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "difficult": torch.tensor(difficult, dtype=torch.bool),
    }
    return target, clipped, dropped
