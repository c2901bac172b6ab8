"""The devkit's files: images, masks and annotations, and what is wrong with them."""

from __future__ import annotations

import hashlib
import re
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
from data.files import BROKEN, CheckedFile, decode_image, decode_text, image_size, read_bytes
from data.voc_lists import CLASSES

IGNORE = 255  # the mask value of object borders and padding
_LIMIT = 1 << 26  # bytes of a file; VOC's largest have 0.3 MB
_MAT_LIMIT = 1 << 20  # SBD's largest have 0.1 MB, and a compressed one unpacks to a thousand times
_ENDINGS = {
    "JPEGImages": (".jpg", ".JPG", ".jpeg", ".JPEG"),
    "SegmentationClass": (".png", ".PNG"),
    "SegmentationClassAug": (".png", ".PNG"),
    "Annotations": (".xml", ".XML"),
}
_DECLARED = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)")


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


def devkit_file(folder: Path, kind: str, name: str) -> Path:
    """The file of an image's `name` in a folder of the devkit, whose ending people spell variously.

    The devkit's own spelling if there is none.
    """
    endings = _ENDINGS[kind]
    paths = [folder / kind / f"{name}{ending}" for ending in endings]
    return next((path for path in paths if path.is_file()), paths[0])


def mask_path(folder: Path, sbd: Path, name: str) -> Path:
    """The mask of an image: VOC's own, or the augmented set's, or SBD's. DataError if none.

    Images to test on have VOC's own, also where the augmented set has another one of them.
    """
    candidates = (
        devkit_file(folder, "SegmentationClass", name),
        devkit_file(folder, "SegmentationClassAug", name),
        sbd / "cls" / f"{name}.mat",
    )
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(
        f"no mask of {name}: expected one of {', '.join(map(str, candidates))}. Restore it"
    )


def checked(path: Path) -> tuple[CheckedFile, bytes]:
    """A file as it is now, and its content. DataError if it is missing or cannot be read."""
    content = read_bytes(path, _LIMIT)
    return CheckedFile(path, hashlib.sha256(content).digest()), content


def decode_picture(content: bytes, path: Path) -> tv_tensors.Image:
    """An image (3, H, W) uint8. DataError, which names `path`, if damaged or no image."""
    pixels, _ = decode_image(content, path, "RGB")
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())


def mask_size(content: bytes, path: Path) -> tuple[int, int]:
    """Width and height; a .mat file is decoded for it."""
    if path.suffix == ".mat":
        height, width = _sbd_mask(content, path).shape
        return width, height
    return image_size(content, path)


def decode_mask(content: bytes, path: Path) -> tv_tensors.Mask:
    """A mask (H, W) uint8 of class numbers and IGNORE. DataError for anything else."""
    if path.suffix == ".mat":
        classes = _sbd_mask(content, path)
    else:
        classes, mode = decode_image(content, path)
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


def _sbd_mask(content: bytes, path: Path) -> np.ndarray:
    remedy = "is not one of SBD's files"
    if len(content) > _MAT_LIMIT:
        raise DataError(f"{path} {remedy} (more than {_MAT_LIMIT:,} bytes): restore it")
    try:
        classes = loadmat(BytesIO(content), variable_names="GTcls")["GTcls"][0]["Segmentation"][0]
        if classes.ndim != 2 or classes.dtype.kind not in "iu":
            raise ValueError(f"its Segmentation is {classes.dtype} of shape {classes.shape}")
    except (*BROKEN, AttributeError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path} {remedy} ({error!r}): restore it") from error
    return classes


def decode_objects(content: bytes, path: Path, size: tuple[int, int]) -> Objects:
    """The objects of an annotation's XML, for an image of `size` (width, height).

    VOC counts pixels from 1 and includes the last one, so that a box is xmin − 1 … xmax. What
    lies outside of the image is clipped, and a box of which no area is left dropped; both are
    counted. DataError, which names `path`, for bad XML, a missing or unreadable element, or a
    class that VOC has not.
    """
    boxes, labels, difficult = [], [], []
    clipped = dropped = 0
    width, height = size
    for found in _parse(content, path).iter("object"):
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


def _parse(content: bytes, path: Path) -> ElementTree.Element:
    """The root of XML in any encoding that Python knows; the parser's own are fewer."""
    declared = _DECLARED.match(content)
    encoding = declared[1].decode("ascii") if declared else "utf-8"
    text = decode_text(content, path, encoding)
    try:
        return ElementTree.fromstring(text.lstrip())
    except (ElementTree.ParseError, ValueError) as error:
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
