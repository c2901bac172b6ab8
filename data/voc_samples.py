"""VOC's samples: each one's files, checked once, and what is read from them later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision import tv_tensors

from data import transforms
from data.batches import DataError
from data.files import CheckedFile, image_size
from data.samples import Sample
from data.voc_files import (
    IGNORE,
    Objects,
    checked,
    decode_mask,
    decode_objects,
    decode_picture,
    devkit_file,
    mask_path,
    mask_size,
)

_LARGEST_SIDE = 2048  # pixels; VOC's largest image has 500


@dataclass(frozen=True)
class Masked:
    """An image's file, its mask's file, and their size (width, height)."""

    image: CheckedFile
    mask: CheckedFile
    size: tuple[int, int]

    def read(self) -> Sample:
        image = decode_picture(self.image.read(), self.image.path)
        return image, decode_mask(self.mask.read(), self.mask.path)

    def files(self) -> tuple[CheckedFile, ...]:
        return self.image, self.mask


@dataclass(frozen=True)
class Boxed:
    """An image's file, its annotation's file, its size (width, height) and its objects."""

    image: CheckedFile
    annotation: CheckedFile
    size: tuple[int, int]
    objects: Objects

    def read(self) -> Sample:
        width, height = self.size
        boxes = tv_tensors.BoundingBoxes(
            self.objects.boxes, format="XYXY", canvas_size=(height, width)
        )
        labels = {"labels": self.objects.labels, "difficult": self.objects.difficult}
        return decode_picture(self.image.read(), self.image.path), {"boxes": boxes, **labels}

    def files(self) -> tuple[CheckedFile, ...]:
        return self.image, self.annotation


class Samples(Sequence[Sample]):
    """Decoded samples by index, with their longer side at most `max_side` pixels."""

    def __init__(self, entries: Sequence[Masked | Boxed], max_side: int | None) -> None:
        self._entries, self._max_side = entries, max_side

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        return transforms.shrink(entry.read(), entry.size, self._max_side)

    def largest(self) -> int:
        """The longest side of all, in pixels."""
        longest = max(max(entry.size) for entry in self._entries)
        return longest if self._max_side is None else min(longest, self._max_side)


def masked(folder: Path, sbd: Path, name: str) -> Masked:
    """The image and mask of a name. DataError if missing, damaged or of different sizes."""
    image, content = checked(devkit_file(folder, "JPEGImages", name))
    size = image_size(content, image.path)
    mask, content = checked(mask_path(folder, sbd, name))
    other = mask_size(content, mask.path)
    if size != other:
        raise DataError(
            f"{mask.path} is {other[0]} × {other[1]} pixels, its image {image.path} {size[0]} × "
            f"{size[1]}: one of them is not the devkit's, restore it"
        )
    return Masked(image, mask, size)


def boxed(folder: Path, name: str) -> Boxed:
    """The image and objects of a name. DataError if missing or damaged."""
    image, content = checked(devkit_file(folder, "JPEGImages", name))
    size = image_size(content, image.path)
    annotation, content = checked(devkit_file(folder, "Annotations", name))
    return Boxed(image, annotation, size, decode_objects(content, annotation.path, size))


def digest(entries: Iterable[Masked | Boxed]) -> str:
    """The SHA-256 digest of the digests of all files, in order."""
    files = (file.sha256 for entry in entries for file in entry.files())
    return hashlib.sha256(b"".join(files)).hexdigest()


def check_apart(train: Sequence[Masked | Boxed], test: Sequence[Masked | Boxed]) -> None:
    """DataError if an image is in both sets."""
    names = [{entry.image.path.stem for entry in entries} for entries in (train, test)]
    both = sorted(names[0] & names[1])
    if both:
        raise DataError(
            f"{len(both)} test images are training images too, among them {both[0]}: name lists "
            "that are disjoint with data.train and data.test"
        )


def check_sides(entries: Iterable[Masked | Boxed], max_side: int | None) -> None:
    """DataError for an image that transforms would make too large: up to 4 times its sides."""
    for entry in entries:
        if max_side is None and max(entry.size) > _LARGEST_SIDE:
            width, height = entry.size
            raise DataError(
                f"{entry.image.path} is {width} × {height} pixels, expected at most "
                f"{_LARGEST_SIDE:,} a side: scale larger images down with data.max_side=500"
            )


def check_pixels(**sets: Samples) -> None:
    """DataError for a set in whose masks no pixel has a class: it has no loss and no score."""
    for name, samples in sets.items():
        if not any((mask != IGNORE).any() for _, mask in samples):
            raise DataError(
                f"none of the {len(samples)} {name} masks has a pixel with a class, all are "
                f"{IGNORE} (ignored): name another list with data.{name}, or raise the subset"
            )


def check_objects(train: Sequence[Boxed], test: Sequence[Boxed]) -> None:
    """DataError for training images without objects, or test images without countable ones."""
    if not any(len(entry.objects.labels) for entry in train):
        raise DataError(
            f"the {len(train)} training images have no objects: name another list with "
            "data.train, or raise data.subset"
        )
    if all(entry.objects.difficult.all() for entry in test):
        raise DataError(
            f"the {len(test)} test images have no objects but difficult ones, which do not count: "
            "average precision is not defined. Name another list with data.test, or raise "
            "data.test_subset"
        )
