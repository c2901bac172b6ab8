"""PASCAL VOC for segmentation and detection, read from the devkit's folders.

`cache` keeps the decoded images in memory; without it they are decoded every epoch, in `workers`
processes. Neither changes a batch. Where all fits in memory, the cache is the faster: of 1,559
images of 320 pixels, scaled to 128, an epoch was loaded in 5 s with it, 12 s without, and 12 s
with one worker, on two busy cores. VOC as a whole takes some 10 GB and wants workers for its
transforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from data import transforms
from data.batches import DataError
from data.samples import Sample, SampleBatches
from data.voc_files import (
    Objects,
    image_size,
    mask_path,
    mask_size,
    read_image,
    read_mask,
    read_objects,
)
from data.voc_lists import (
    OFFICIAL_SIZES,
    check_sizes,
    detection_list,
    segmentation_list,
    voc_folder,
)

_STRIDE = 8  # of the coarsest feature map that a canvas must fit


@dataclass(frozen=True)
class Voc:
    """Training and test samples with their transforms, and where they came from."""

    train: Sequence[Sample]
    test: Sequence[Sample]
    train_transform: Callable[..., Sample]
    test_transform: Callable[..., Sample]
    collate: Callable[[list[Sample]], Sample]
    to_device: Callable[[Sample, torch.device], Sample]
    workers: int
    provenance: dict[str, Any]

    def loaders(self, batch_size: int, device: torch.device) -> tuple[SampleBatches, SampleBatches]:
        """Training and test batches on the device; images are (N, 3, H, W) float32 in 0–1."""
        train, test = (
            SampleBatches(
                samples, transform, self.collate, self.to_device, batch_size, device, self.workers
            )
            for samples, transform in (
                (self.train, self.train_transform),
                (self.test, self.test_transform),
            )
        )
        return train, test


@dataclass(frozen=True)
class Masked:
    """An image's file, its mask's file, and their size (width, height)."""

    image: Path
    mask: Path
    size: tuple[int, int]

    def read(self) -> Sample:
        return read_image(self.image), read_mask(self.mask)


@dataclass(frozen=True)
class Boxed:
    """An image's file, its size (width, height) and its objects."""

    image: Path
    size: tuple[int, int]
    objects: Objects

    def read(self) -> Sample:
        width, height = self.size
        boxes = tv_tensors.BoundingBoxes(
            self.objects.boxes, format="XYXY", canvas_size=(height, width)
        )
        labels = {"labels": self.objects.labels, "difficult": self.objects.difficult}
        return read_image(self.image), {"boxes": boxes, **labels}


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


def voc_segmentation(
    root: str,
    crop: int = 480,
    train: str = "trainaug",
    test: str = "val",
    complete: bool = True,
    max_side: int | None = None,
    cache: bool = False,
    workers: int = 0,
    subset: int | None = None,
    test_subset: int | None = None,
) -> Voc:
    """VOC2012 segmentation, lists `train` and `test` of ImageSets/Segmentation.

    Batches are images, and masks (N, H, W) int64. Test images are padded to one canvas. Raises
    DataError for what is missing or damaged, or, if `complete`, not of the published size.
    """
    folder = voc_folder(root, "2012", "trainval")
    names = {key: segmentation_list(root, folder, key) for key in (train, test)}
    sizes = {f"VOC2012/Segmentation/{key}": len(value) for key, value in names.items()}
    if complete:
        check_sizes(sizes)
    entries = [
        [_masked(folder, Path(root) / "sbd", name) for name in wanted]
        for wanted in (
            _first(names[train], subset, "subset"),
            _first(names[test], test_subset, "test_subset"),
        )
    ]
    _check_apart(*entries)
    train_samples, test_samples = (Samples(part, max_side) for part in entries)
    return Voc(
        _cached(train_samples, cache),
        _cached(test_samples, cache),
        transforms.segmentation_training(crop),
        transforms.segmentation_test(-(-test_samples.largest() // _STRIDE) * _STRIDE),
        _stack_masks,
        _masks_to,
        workers,
        _provenance("VOC2012 " + train, sizes, train_samples, test_samples),
    )


def voc_detection(
    root: str,
    size: int = 300,
    zoom: float = 4.0,
    train: Sequence[str] = ("VOC2007/trainval", "VOC2012/trainval"),
    test: Sequence[str] = ("VOC2007/test",),
    complete: bool = True,
    max_side: int | None = None,
    cache: bool = False,
    workers: int = 0,
    subset: int | None = None,
    test_subset: int | None = None,
) -> Voc:
    """VOC detection from the lists `train` and `test`, as year/name in ImageSets/Main.

    Batches are images of `size` by `size` pixels, and a list of N targets with boxes (K, 4), labels
    (K,) from 1, and difficult (K,). Raises DataError as voc_segmentation does; boxes outside of the
    image are clipped, those without area dropped, and both counted in the provenance.
    """
    images = {key: detection_list(root, key) for key in (*train, *test)}
    sizes = {key.replace("/", "/Main/"): len(value) for key, value in images.items()}
    if complete:
        check_sizes(sizes)
    wanted = (
        _first([one for key in train for one in images[key]], subset, "subset"),
        _first([one for key in test for one in images[key]], test_subset, "test_subset"),
    )
    entries = [[_boxed(folder, name) for folder, name in part] for part in wanted]
    _check_apart(*entries)
    train_samples, test_samples = (Samples(part, max_side) for part in entries)
    found = [entry.objects for part in entries for entry in part]
    repaired = {
        "boxes_clipped": sum(objects.clipped for objects in found),
        "boxes_dropped": sum(objects.dropped for objects in found),
    }
    name = "+".join(dict.fromkeys(key.split("/")[0] for key in train))
    return Voc(
        _cached(train_samples, cache),
        _cached(test_samples, cache),
        transforms.detection_training(size, zoom),
        transforms.detection_test(size),
        _list_targets,
        _targets_to,
        workers,
        {**_provenance(name, sizes, train_samples, test_samples), "repaired": repaired},
    )


def _masked(folder: Path, sbd: Path, name: str) -> Masked:
    image, mask = folder / "JPEGImages" / f"{name}.jpg", mask_path(folder, sbd, name)
    size, other = image_size(image), mask_size(mask)
    if size != other:
        raise DataError(
            f"{mask} is {other[0]} × {other[1]} pixels, its image {image} {size[0]} × {size[1]}: "
            "one of them is not the devkit's, restore it"
        )
    return Masked(image, mask, size)


def _boxed(folder: Path, name: str) -> Boxed:
    image = folder / "JPEGImages" / f"{name}.jpg"
    size = image_size(image)
    return Boxed(image, size, read_objects(folder / "Annotations" / f"{name}.xml", size))


def _first(names: list[Any], count: int | None, key: str) -> list[Any]:
    if count is not None and not 0 < count <= len(names):
        raise DataError(f"data.{key} must be in 1 … {len(names)}, got {count}")
    return names[:count]


def _check_apart(train: Sequence[Masked | Boxed], test: Sequence[Masked | Boxed]) -> None:
    both = sorted({entry.image.stem for entry in train} & {entry.image.stem for entry in test})
    if both:
        raise DataError(
            f"{len(both)} test images are training images too, among them {both[0]}: name lists "
            "that are disjoint with data.train and data.test"
        )


def _cached(samples: Samples, cache: bool) -> Sequence[Sample]:
    return list(samples) if cache else samples


def _provenance(name: str, sizes: dict[str, int], train: Samples, test: Samples) -> dict[str, Any]:
    """Named a subset, with its largest side, unless the lists are of their published sizes."""
    published = all(size == OFFICIAL_SIZES.get(key) for key, size in sizes.items())
    if not published or len(train) + len(test) != sum(sizes.values()):
        name += " subset"
    largest = max(train.largest(), test.largest())
    return {
        "name": f"{name}, {largest} px",
        "format": "devkit",
        "train": len(train),
        "test": len(test),
    }


def _stack_masks(samples: list[Sample]) -> Sample:
    images, masks = zip(*samples, strict=True)
    return torch.stack(images), torch.stack(masks)


def _masks_to(batch: Sample, device: torch.device) -> Sample:
    images, masks = batch
    return _unit(images, device), masks.to(device, non_blocking=True).long()


def _list_targets(samples: list[Sample]) -> Sample:
    images, targets = zip(*samples, strict=True)
    plain = [{key: value.as_subclass(Tensor) for key, value in one.items()} for one in targets]
    return torch.stack(images), plain


def _targets_to(batch: Sample, device: torch.device) -> Sample:
    images, targets = batch
    moved = [{k: v.to(device, non_blocking=True) for k, v in one.items()} for one in targets]
    return _unit(images, device), moved


def _unit(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device, non_blocking=True).float() / 255
