"""The devkit's files: images, masks and annotations, and what is wrong with them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat
from torch import Tensor
from torchvision import tv_tensors

from data.batches import DataError
from data.voc_lists import CLASSES

IGNORE = 255  # the mask value of object borders and padding


class Objects(NamedTuple):
    """The objects of one image, in pixels from its upper left corner.

    Boxes (K, 4) float32 as x0, y0, x1, y1; labels (K,) int64 from 1; difficult (K,) bool; and how
    many boxes were clipped to the image, or dropped because nothing of them was left.
    """

    boxes: Tensor
    labels: Tensor
    difficult: Tensor
    clipped: int
    dropped: int


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's header. DataError if missing or not an image."""
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing, but a list names it: restore it") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image ({error}): restore it") from error


def read_image(path: Path) -> tv_tensors.Image:
    """An image (3, H, W) uint8. DataError if missing, truncated or not an image."""
    pixels, _ = _decode(path, "RGB")
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())


def _decode(path: Path, mode: str | None = None) -> tuple[np.ndarray, str]:
    """Pixels (H, W) or (H, W, C) in a mode of Pillow's, the file's own if None, and that mode."""
    try:
        with Image.open(path) as image:
            converted = image if mode is None else image.convert(mode)
            return np.array(converted), converted.mode
    except (OSError, SyntaxError) as error:  # Pillow raises the latter for a damaged PNG
        raise DataError(f"{path} cannot be read as an image ({error}): restore it") from error


def mask_path(folder: Path, sbd: Path, name: str) -> Path:
    """The mask of an image: the augmented set's, or VOC's own, or SBD's. DataError if none."""
    candidates = (
        folder / "SegmentationClassAug" / f"{name}.png",
        folder / "SegmentationClass" / f"{name}.png",
        sbd / "cls" / f"{name}.mat",
    )
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(f"no mask of {name}: expected one of {', '.join(map(str, candidates))}")


def mask_size(path: Path) -> tuple[int, int]:
    """Width and height; a .mat file is decoded for it."""
    if path.suffix == ".mat":
        height, width = _sbd_mask(path).shape
        return width, height
    return image_size(path)


def read_mask(path: Path) -> tv_tensors.Mask:
    """A mask (H, W) uint8 of class numbers and IGNORE. DataError for anything else."""
    if path.suffix == ".mat":
        classes = _sbd_mask(path)
    else:
        classes, mode = _decode(path)
        if classes.ndim != 2:
            raise DataError(
                f"{path} is a colour image of mode {mode}: a mask holds class numbers, in "
                "grey or with a palette"
            )
    unknown = np.setdiff1d(classes, [*range(len(CLASSES) + 1), IGNORE])
    if len(unknown):
        raise DataError(
            f"{path} has class {unknown[0]}: expected 0 (background) to {len(CLASSES)}, or "
            f"{IGNORE} (ignored)"
        )
    return tv_tensors.Mask(torch.from_numpy(classes.astype(np.uint8)))


def _sbd_mask(path: Path) -> np.ndarray:
    try:
        return loadmat(path)["GTcls"][0]["Segmentation"][0]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"{path} is not one of SBD's files ({error!r}): restore it") from error


def read_objects(path: Path, size: tuple[int, int]) -> Objects:
    """The objects of an annotation file, for an image of `size` (width, height).

    VOC counts pixels from 1 and includes the last one, so that a box is xmin − 1 … xmax. What
    lies outside of the image is clipped, and a box of which no area is left dropped; both are
    counted. DataError for a missing file, bad XML, a missing or unreadable element, or a class
    that VOC has not.
    """
    boxes, labels, difficult = [], [], []
    clipped = dropped = 0
    width, height = size
    for found in _parse(path).iter("object"):
        name = found.findtext("name", "").strip()
        if name not in CLASSES:
            raise DataError(f"{path} has an object of class {name!r}: not one of VOC's 20")
        x0, y0, x1, y1 = (_number(path, found, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
        box = [x0 - 1, y0 - 1, x1, y1]
        inside = [max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)]
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            dropped += 1
            continue
        clipped += inside != box
        boxes.append(inside)
        labels.append(CLASSES.index(name) + 1)
        difficult.append(found.findtext("difficult", "0").strip() == "1")
    return Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(difficult, dtype=torch.bool),
        clipped,
        dropped,
    )


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing, but a list names it: restore it") from error
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path} is not well-formed XML ({error}): restore it") from error


def _number(path: Path, found: ElementTree.Element, tag: str) -> float:
    text = found.findtext(f"bndbox/{tag}")
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise DataError(f"{path} has an object whose bndbox/{tag} is {text!r}: expected a number")
    return number
