"""PASCAL VOC for segmentation and detection, read from the devkit's folders.

`cache` keeps the decoded images in memory; without it they are decoded every epoch, in `workers`
processes. Neither changes a batch. Where all fits in memory, the cache is the faster; VOC as a
whole takes some 10 GB and wants workers for its transforms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from data import transforms
from data.batches import DataError, check_subset
from data.files import data_root
from data.samples import Sample, SampleBatches
from data.voc_files import IGNORE, Entry, boxed, masked
from data.voc_lists import OFFICIAL_SIZES, voc_list

_STRIDE = 8  # of the coarsest feature map that a canvas must fit


@dataclass(frozen=True)
class Voc:
    """Training and test samples with their transforms, and where they came from."""

    train: Sequence[Sample]
    test: Sequence[Sample]
    train_transform: Callable[..., Sample]
    test_transform: Callable[..., Sample]
    workers: int
    provenance: dict[str, Any]

    def loaders(self, batch_size: int, device: torch.device) -> tuple[SampleBatches, SampleBatches]:
        """Training and test batches on the device; images are (N, 3, H, W) float32 in 0–1."""
        options = (_collate, _to_device, batch_size, device, self.workers)
        return (
            SampleBatches(self.train, self.train_transform, *options),
            SampleBatches(self.test, self.test_transform, *options),
        )


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
    train, test = ("trainaug" if name == "train_aug" else name for name in (train, test))
    keys = [[f"VOC2012/Segmentation/{name}"] for name in (train, test)]
    entries, whole = _entries(root, keys, masked, complete, (subset, test_subset))
    samples = [_Samples(of_set, max_side) for of_set in entries]
    counted = "a mask with a pixel that is not ignored"
    _check_any("train", samples[0], lambda sample: (sample[1] != IGNORE).any(), counted)
    _check_any("test", samples[1], lambda sample: (sample[1] != IGNORE).any(), counted)
    canvas = -(-samples[1].largest() // _STRIDE) * _STRIDE
    return Voc(
        *(list(decoded) if cache else decoded for decoded in samples),
        transforms.segmentation_training(crop),
        partial(transforms.segmentation_test, canvas),
        workers,
        _provenance("VOC2012 " + train, whole, *samples),
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
    keys = [[key.replace("/", "/Main/") for key in of_set] for of_set in (train, test)]
    entries, whole = _entries(root, keys, boxed, complete, (subset, test_subset))
    counted = "an object that counts, as difficult ones do not"
    _check_any("train", entries[0], lambda entry: len(entry.target["labels"]), "an object")
    _check_any("test", entries[1], lambda entry: not entry.target["difficult"].all(), counted)
    samples = [_Samples(of_set, max_side) for of_set in entries]
    years = "+".join(dict.fromkeys(key.split("/")[0] for key in train))
    repaired = {
        "boxes_clipped": sum(entry.clipped for of_set in entries for entry in of_set),
        "boxes_dropped": sum(entry.dropped for of_set in entries for entry in of_set),
    }
    return Voc(
        *(list(decoded) if cache else decoded for decoded in samples),
        transforms.detection_training(size, zoom),
        v2.Resize((size, size)),
        workers,
        {**_provenance(years, whole, *samples), "repaired": repaired},
    )


def _entries(
    root: str,
    keys: Sequence[Sequence[str]],
    read: Callable[[Path, str], Entry],
    complete: bool,
    counts: Sequence[int | None],
) -> tuple[list[list[Entry]], bool]:
    """The first `counts` training and test images of the lists `keys`; if these are all of VOC's.

    DataError for an image in both sets, and as voc_segmentation raises it.
    """
    folder = data_root(root)
    lists = {key: voc_list(folder, key) for of_set in keys for key in of_set}
    incomplete = [
        f"{key} has {len(images)} images, the published list {OFFICIAL_SIZES.get(key, 'none')}"
        for key, images in lists.items()
        if len(images) != OFFICIAL_SIZES.get(key)
    ]
    if complete and incomplete:
        raise DataError(
            f"{'; '.join(incomplete)}: complete the data set, or run on what there is with "
            "data.complete=false"
        )
    entries = []
    for name, of_set, count in zip(("subset", "test_subset"), keys, counts, strict=True):
        images = [image for key in of_set for image in lists[key]]
        check_subset(name, count, len(images))
        entries.append([read(*image) for image in images[:count]])
    train, test = ({entry.image.path.stem for entry in of_set} for of_set in entries)
    if train & test:
        raise DataError(
            f"{len(train & test)} test images are training images too, among them "
            f"{min(train & test)}: name lists that are disjoint with data.train and data.test"
        )
    taken, listed = (sum(map(len, sets)) for sets in (entries, lists.values()))
    return entries, not incomplete and taken == listed


class _Samples(Sequence[Sample]):
    """Decoded samples by index, with their longer side at most `max_side` pixels."""

    def __init__(self, entries: Sequence[Entry], max_side: int | None) -> None:
        self.entries, self._max_side = entries, max_side

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        return transforms.shrink(entry.read(), entry.size, self._max_side)

    def largest(self) -> int:
        """The longest side of all, in pixels."""
        longest = max(max(entry.size) for entry in self.entries)
        return longest if self._max_side is None else min(longest, self._max_side)


def _check_any(name: str, images: Sequence[Any], has: Callable[[Any], Any], what: str) -> None:
    """DataError unless an image of a set has something to learn or to score."""
    if not any(has(image) for image in images):
        raise DataError(
            f"none of the {len(images)} {name} images has {what}: name another list with "
            f"data.{name}, or raise data.subset or data.test_subset"
        )


def _provenance(name: str, whole: bool, train: _Samples, test: _Samples) -> dict[str, Any]:
    """Named a subset unless it is the `whole` published set, and with its largest side.

    Its digest is of the digests of all files, in order.
    """
    entries = [*train.entries, *test.entries]
    digests = [file.sha256 for entry in entries for file in (entry.image, entry.truth)]
    return {
        "name": f"{name}{'' if whole else ' subset'}, {max(train.largest(), test.largest())} px",
        "format": "devkit",
        "sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
        "train": len(train),
        "test": len(test),
    }


def _collate(samples: list[Sample]) -> Sample:
    """Stacked images, and stacked masks or a list of targets, as plain tensors."""
    images, targets = zip(*samples, strict=True)
    if isinstance(targets[0], Tensor):
        return torch.stack(images), torch.stack(targets)
    plain = [{key: value.as_subclass(Tensor) for key, value in one.items()} for one in targets]
    return torch.stack(images), plain


def _to_device(batch: Sample, device: torch.device) -> Sample:
    images, targets = batch
    images = images.to(device, non_blocking=True).float() / 255
    if isinstance(targets, Tensor):
        return images, targets.to(device, non_blocking=True).long()
    return images, [
        {key: value.to(device, non_blocking=True) for key, value in target.items()}
        for target in targets
    ]
