"""CIFAR-10 and CIFAR-100, https://www.cs.toronto.edu/~kriz/cifar.html.

From torchvision's archives, or from parquet files as the Hugging Face hub holds them (see
data/parquet.py), below `root`/cifar10 with columns `img` (encoded bytes) and `label`, and
`root`/cifar100 with `fine_label`. The archive comes first; where there is nothing it is downloaded.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from data.batches import Dataset, take
from data.files import data_root, download_missing, genuine_bytes
from data.parquet import parquet_files, read_split


class _Source(NamedTuple):
    """One of the two data sets; mean and std are of its training pixels, scaled to [0, 1]."""

    name: str
    archive: type[CIFAR10]
    folder: str  # of the parquet files
    label: str  # their column; the archive's key is its plural
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_CIFAR10 = _Source(
    "CIFAR-10", CIFAR10, "cifar10", "label", 10,
    (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616),
)  # fmt: skip
_CIFAR100 = _Source(
    "CIFAR-100", CIFAR100, "cifar100", "fine_label", 100,
    (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762),
)  # fmt: skip


def cifar10(root: str, subset: int | None = None, test_subset: int | None = None) -> Dataset:
    """50,000 training and 10,000 test images of 10 classes, or the first of them.

    Raises DataError when files are missing and cannot be downloaded, or not what they should be.
    """
    return _read(_CIFAR10, data_root(root), subset, test_subset)


def cifar100(root: str, subset: int | None = None, test_subset: int | None = None) -> Dataset:
    """50,000 training and 10,000 test images of 100 classes, or the first of them.

    Raises DataError as `cifar10` does.
    """
    return _read(_CIFAR100, data_root(root), subset, test_subset)


def _read(source: _Source, root: Path, subset: int | None, test_subset: int | None) -> Dataset:
    files = None
    if not (root / source.archive.base_folder).is_dir():
        files = parquet_files(root / source.folder)
    if files is None:
        train, test = _from_archive(source, root)
        provenance = {"name": source.name, "format": "torchvision archive"}
    else:
        digest = hashlib.sha256()
        (*test, _), (*train, kind) = (
            read_split(files[split], source.label, source.classes, count, digest)
            for split, count in (("test", test_subset), ("train", subset))
        )
        provenance = {
            "name": source.name + (" (JPEG copy)" if kind == "JPEG" else ""),
            "format": f"parquet of {kind} images",
            "sha256": digest.hexdigest(),
        }
    dataset = Dataset(*train, *test, provenance, source.mean, source.std, padding=4)
    return take(dataset, subset, test_subset)


def _from_archive(source: _Source, root: Path) -> list[tuple[Tensor, Tensor]]:
    """Training and test images and labels, of the very bytes whose digests are the archive's."""
    archive, folder = source.archive, root / source.archive.base_folder
    splits = (archive.train_list, archive.test_list)
    paths = [folder / name for files in splits for name, _ in files]
    parquet = f"{root / source.folder}/train-*.parquet and test-*.parquet"
    what = f"{source.name} in {root} (expected {archive.base_folder}/ or {parquet})"
    download_missing(root, paths, what, lambda: archive(str(root), download=True))
    return [_unpickled(source, folder, files) for files in splits]


def _unpickled(source: _Source, folder: Path, files: list[list[str]]) -> tuple[Tensor, Tensor]:
    batches = [
        # safe, as the digest is known
        pickle.loads(genuine_bytes(folder / name, source.name, md5), encoding="latin1")
        for name, md5 in files
    ]
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = [label for batch in batches for label in batch[source.label + "s"]]
    return torch.from_numpy(pixels), torch.tensor(labels)
