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
from typing import Any

import torch
from torch import Tensor

from data import transforms
from data.batches import DataError
from data.files import data_root
from data.samples import Sample, SampleBatches
from data.voc_lists import (
    OFFICIAL_SIZES,
    check_sizes,
    detection_list,
    list_key,
    segmentation_list,
    voc_folder,
)
from data.voc_samples import (
    Boxed,
    Masked,
    Samples,
    boxed,
    check_apart,
    check_objects,
    check_pixels,
    check_sides,
    digest,
    masked,
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
    place = data_root(root)
    folder = voc_folder(place, "2012", "trainval")
    train, test = list_key(train), list_key(test)
    names = {key: segmentation_list(place, folder, key) for key in (train, test)}
    sizes = {f"VOC2012/Segmentation/{key}": len(value) for key, value in names.items()}
    if complete:
        check_sizes(sizes)
    entries = [
        [masked(folder, place / "sbd", name) for name in wanted]
        for wanted in (
            _first(names[train], subset, "subset"),
            _first(names[test], test_subset, "test_subset"),
        )
    ]
    check_apart(*entries)
    check_sides([*entries[0], *entries[1]], max_side)
    train_samples, test_samples = (Samples(chosen, max_side) for chosen in entries)
    check_pixels(train=train_samples, test=test_samples)
    return Voc(
        _cached(train_samples, cache),
        _cached(test_samples, cache),
        transforms.segmentation_training(crop),
        transforms.segmentation_test(-(-test_samples.largest() // _STRIDE) * _STRIDE),
        _stack_masks,
        _masks_to,
        workers,
        _provenance("VOC2012 " + train, sizes, *entries, max_side),
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
    place = data_root(root)
    images = {key: detection_list(place, key) for key in (*train, *test)}
    sizes = {key.replace("/", "/Main/"): len(value) for key, value in images.items()}
    if complete:
        check_sizes(sizes)
    wanted = (
        _first([one for key in train for one in images[key]], subset, "subset"),
        _first([one for key in test for one in images[key]], test_subset, "test_subset"),
    )
    entries = [[boxed(folder, name) for folder, name in names] for names in wanted]
    check_apart(*entries)
    check_sides([*entries[0], *entries[1]], max_side)
    check_objects(*entries)
    train_samples, test_samples = (Samples(chosen, max_side) for chosen in entries)
    name = "+".join(dict.fromkeys(key.split("/")[0] for key in train))
    return Voc(
        _cached(train_samples, cache),
        _cached(test_samples, cache),
        transforms.detection_training(size, zoom),
        transforms.detection_test(size),
        _list_targets,
        _targets_to,
        workers,
        {**_provenance(name, sizes, *entries, max_side), "repaired": _repaired(*entries)},
    )


def _first(names: list[Any], count: int | None, key: str) -> list[Any]:
    if count is not None and not 0 < count <= len(names):
        raise DataError(f"data.{key} must be in 1 … {len(names)}, got {count}")
    return names[:count]


def _cached(samples: Samples, cache: bool) -> Sequence[Sample]:
    return list(samples) if cache else samples


def _repaired(train: Sequence[Boxed], test: Sequence[Boxed]) -> dict[str, int]:
    """How many boxes were clipped to their images, and how many dropped."""
    objects = [entry.objects for entry in (*train, *test)]
    return {
        "boxes_clipped": sum(of_image.clipped for of_image in objects),
        "boxes_dropped": sum(of_image.dropped for of_image in objects),
    }


def _provenance(
    name: str,
    sizes: dict[str, int],
    train: Sequence[Masked | Boxed],
    test: Sequence[Masked | Boxed],
    max_side: int | None,
) -> dict[str, Any]:
    """Named a subset, with its largest side, unless the lists are of their published sizes."""
    published = all(size == OFFICIAL_SIZES.get(key) for key, size in sizes.items())
    if not published or len(train) + len(test) != sum(sizes.values()):
        name += " subset"
    largest = Samples([*train, *test], max_side).largest()
    return {
        "name": f"{name}, {largest} px",
        "format": "devkit",
        "sha256": digest([*train, *test]),
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
