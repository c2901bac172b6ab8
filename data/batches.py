"""A data set that fits in memory, as tensors on the device, and its batches by indexing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Dataset(NamedTuple):
    """Images (N, C, H, W) float32, labels (N,) int64, and where they came from."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    provenance: dict[str, Any]


class DataError(RuntimeError):
    """Data that is missing or not what it should be; the message says how to get it."""


class Batches:
    """Batches of images and labels; the last one of an epoch may be smaller."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """In the order of the data set."""
        return zip(
            self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
        )

    def epoch(self, generator: torch.Generator, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """In an order drawn from a CPU `generator`, from batch number `start` on."""
        order = torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
        for batch in order.split(self.batch_size)[start:]:
            yield self.images[batch], self.labels[batch]


def take(dataset: Dataset, subset: int | None, test_subset: int | None) -> Dataset:
    """The first `subset` training and `test_subset` test images; None takes all.

    Raises DataError when more are asked for than there are.
    """
    train, test = len(dataset.train_labels), len(dataset.test_labels)
    for name, wanted, there in (("subset", subset, train), ("test_subset", test_subset, test)):
        if wanted is not None and not 0 < wanted <= there:
            raise DataError(f"data.{name} must be in 1 … {there}, got {wanted}")
    dataset = Dataset(
        dataset.train_images[:subset],
        dataset.train_labels[:subset],
        dataset.test_images[:test_subset],
        dataset.test_labels[:test_subset],
        dataset.provenance,
    )
    counts = {"train": len(dataset.train_labels), "test": len(dataset.test_labels)}
    return dataset._replace(provenance={**dataset.provenance, **counts})
