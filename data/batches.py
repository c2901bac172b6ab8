"""A data set that fits in memory, as tensors on the device, and its batches by indexing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

_TEST_BATCH = 1000
Batch = tuple[Tensor, Tensor]
Part = Callable[[int], slice]


def batch_counts(total: int, size: int, start: int) -> list[int]:
    """How many of `total` samples each batch from number `start` on has."""
    return [min(size, total - first) for first in range(start * size, total, size)]


class DataError(RuntimeError):
    """Data that is missing or not what it should be; the message says how to get it."""


_TEXT = (lambda it: type(it) is str and 0 < len(it) <= 1000), "a string of at most 1000 letters"
_COUNT = (lambda it: type(it) is int and it >= 1), "a number of samples, at least 1"
_REQUIRED = {"name": _TEXT, "format": _TEXT, "train": _COUNT, "test": _COUNT}


def check_provenance(provenance: Any) -> None:
    """Takes the `provenance` of a data set; raises DataError for a key that is missing or mistyped.

    `name` and `format` are strings, `train` and `test` the numbers of samples; more keys may have
    whatever JSON has. Records and tables rely on it: it is to be called before training.
    """
    where = "a data set's provenance"
    if not isinstance(provenance, dict):
        raise DataError(f"{where} must be a dict, got {provenance!r}")
    for key, (right, meaning) in _REQUIRED.items():
        if not right(provenance.get(key)):
            got = repr(provenance[key]) if key in provenance else "nothing"
            raise DataError(f"{where} must have {key!r}: {meaning}; got {got}")
    for key, value in provenance.items():
        try:
            kept = json.loads(json.dumps({key: value}, allow_nan=False)) == {key: value}
        except (TypeError, ValueError):
            kept = False
        if not kept:
            raise DataError(
                f"{where} has {key!r}: {value!r}, expected what JSON has: strings, finite "
                "numbers, true, false, null, and lists and dicts of these, whose keys are strings"
            )


class Dataset(NamedTuple):
    """Images (N, C, H, W), labels (N,) int64, and where they came from.

    Images are float32 and ready for a net; or uint8 pixels, which each batch scales to [0, 1] and
    standardises with `mean` and `std` per channel. Training images are cropped at random after
    zero padding by `padding` pixels, and half of them flipped, if `padding` is not 0.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    provenance: dict[str, Any]
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    padding: int = 0

    def loaders(self, batch_size: int, device: torch.device) -> tuple[Batches, Batches]:
        """Training and test batches with all images on the device."""
        pixels = {"mean": self.mean, "std": self.std}
        train = (self.train_images.to(device), self.train_labels.to(device))
        test = (self.test_images.to(device), self.test_labels.to(device))
        return (
            Batches(*train, batch_size, padding=self.padding, **pixels),
            Batches(*test, _TEST_BATCH, **pixels),
        )


class Batches:
    """Batches of images and labels; the last one of an epoch may be smaller."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        padding: int = 0,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self._padding = padding
        self._scale = None
        if mean is not None and std is not None:
            self._scale = tuple(
                255 * torch.tensor(values, device=images.device)[:, None, None]
                for values in (mean, std)
            )

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def counts(self, start: int = 0) -> list[int]:
        """How many samples an epoch's batches from number `start` on have."""
        return batch_counts(len(self.labels), self.batch_size, start)

    def __iter__(self) -> Iterator[Batch]:
        """In the order of the data set."""
        for images, labels in zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        ):
            yield self._standardised(images), labels

    def epoch(
        self,
        order: torch.Generator,
        augmentation: torch.Generator,
        start: int = 0,
        labels: Tensor | None = None,
        part: Part | None = None,
    ) -> Iterator[Batch]:
        """In an order, and with crops and flips, drawn from CPU generators.

        Goes from batch number `start` on, which gives what a whole epoch would have given from
        there. `labels` (N,) stand in for the data set's own. `part` says which of a batch's
        samples to give, of their number.
        """
        device, count = self.labels.device, len(self.labels)
        labels = self.labels if labels is None else labels
        crops = None
        if self._padding:
            crops = draw_crops(count, self._padding, augmentation).to(device)
        shuffled = torch.randperm(count, generator=order).to(device)
        for batch in shuffled.split(self.batch_size)[start:]:
            if part is not None:
                batch = batch[part(len(batch))]
            images = self.images[batch]
            if crops is not None:
                images = crop_and_flip(images, self._padding, crops[batch])
            yield self._standardised(images), labels[batch]

    def _standardised(self, images: Tensor) -> Tensor:
        if self._scale is None:
            return images
        shift, scale = self._scale
        return (images.float() - shift).div_(scale)


def take(dataset: Dataset, subset: int | None, test_subset: int | None) -> Dataset:
    """The first `subset` training and `test_subset` test images; None takes all.

    Raises DataError when more are asked for than there are.
    """
    check_subset("subset", subset, len(dataset.train_labels))
    check_subset("test_subset", test_subset, len(dataset.test_labels))
    dataset = dataset._replace(
        train_images=dataset.train_images[:subset],
        train_labels=dataset.train_labels[:subset],
        test_images=dataset.test_images[:test_subset],
        test_labels=dataset.test_labels[:test_subset],
    )
    counts = {"train": len(dataset.train_labels), "test": len(dataset.test_labels)}
    return dataset._replace(provenance={**dataset.provenance, **counts})


def check_subset(key: str, count: int | None, total: int) -> None:
    """DataError unless `count` of `total` samples can be taken."""
    if count is not None and not 0 < count <= total:
        raise DataError(f"data.{key} must be in 1 … {total}, got {count}")


def draw_crops(count: int, padding: int, generator: torch.Generator) -> Tensor:
    """Rows (y, x, flip) for `count` samples: offsets in 0 … 2 × padding, and 0 or 1; int64.

    What torchvision's RandomCrop(size, padding) and RandomHorizontalFlip draw; as all rows are
    drawn at once, a sample's depends on nothing but the generator and the sample's index.
    """
    offsets = torch.randint(2 * padding + 1, (count, 2), generator=generator)
    return torch.cat([offsets, torch.randint(2, (count, 1), generator=generator)], dim=1)


def crop_and_flip(images: Tensor, padding: int, crops: Tensor) -> Tensor:
    """Images (N, C, H, W) of any dtype, zero-padded, cut back at the offsets of `crops` (N, 3),
    and mirrored left to right where its last column is 1."""
    height, width = images.shape[2:]
    windows = pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    y, x, flip = crops.unbind(1)
    cut = windows[torch.arange(len(images), device=images.device), :, y, x]
    return torch.where(flip.bool()[:, None, None, None], cut.flip(-1), cut)
