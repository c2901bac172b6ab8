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

from data.batches import DataError, Dataset, take
from data.download import one_at_a_time
from data.files import data_root, read_bytes
from data.parquet import Split, parquet_files, read_split

PADDING = 4
_COUNTS = {"train": 50_000, "test": 10_000}


class _Source(NamedTuple):
    """One of the two data sets; mean and std are of its training pixels, scaled to [0, 1]."""

    name: str
    archive: type[CIFAR10]
    archive_label: str
    folder: str  # of the parquet files
    label: str
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_CIFAR10 = _Source(
    "CIFAR-10", CIFAR10, "labels", "cifar10", "label", 10,
    (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616),
)  # fmt: skip
_CIFAR100 = _Source(
    "CIFAR-100", CIFAR100, "fine_labels", "cifar100", "fine_label", 100,
    (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762),
)  # fmt: skip


def cifar10(root: str, subset: int | None = None, test_subset: int | None = None) -> Dataset:
    """50,000 training and 10,000 test images of 10 classes, or the first of them.

    Raises DataError when files are missing and cannot be downloaded, or are not what they should
    be.
    """
    return _read(_CIFAR10, root, subset, test_subset)


def cifar100(root: str, subset: int | None = None, test_subset: int | None = None) -> Dataset:
    """50,000 training and 10,000 test images of 100 classes, or the first of them.

    Raises DataError as `cifar10` does.
    """
    return _read(_CIFAR100, root, subset, test_subset)


def _read(source: _Source, root: str, subset: int | None, test_subset: int | None) -> Dataset:
    place = data_root(root)
    files = None
    if not (place / source.archive.base_folder).is_dir():
        files = parquet_files(place / source.folder)
    if files is None:
        train, test = _from_archive(source, place)
        provenance = {"name": source.name, "format": "torchvision archive"}
    else:
        train, test, provenance = _from_parquet(source, files, subset, test_subset)
    dataset = Dataset(*train, *test, provenance, source.mean, source.std, PADDING)
    return take(dataset, subset, test_subset)


def _from_parquet(
    source: _Source, files: dict[str, list[Path]], subset: int | None, test_subset: int | None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], dict[str, str]]:
    """Training and test images and labels, and the provenance, with the digest of all files."""
    digest = hashlib.sha256()
    wanted = {"test": test_subset, "train": subset}  # in the order of the files' names
    splits = {}
    for name, count in wanted.items():
        split = Split(files[name], source.label, source.classes, _COUNTS[name])
        splits[name] = read_split(split, count, digest)
    kind = splits["train"][2]
    copy = " (JPEG copy)" if kind == "JPEG" else ""
    provenance = {
        "name": source.name + copy,
        "format": f"parquet of {kind} images",
        "sha256": digest.hexdigest(),
    }
    return splits["train"][:2], splits["test"][:2], provenance


def _from_archive(source: _Source, root: Path) -> list[tuple[Tensor, Tensor]]:
    """Training and test images and labels, of the very bytes whose digests are the archive's."""
    folder = root / source.archive.base_folder
    splits = (source.archive.train_list, source.archive.test_list)
    with one_at_a_time(root):
        if not all((folder / name).is_file() for files in splits for name, _ in files):
            _download(source, root)
    return [_unpickled(source, [(folder / name, md5) for name, md5 in files]) for files in splits]


def _download(source: _Source, root: Path) -> None:
    try:
        source.archive(str(root), download=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or ["no message"])[0].rstrip(":")
        place = root / source.folder
        raise DataError(
            f"no {source.name} in {root} (expected {source.archive.base_folder}/ or "
            f"{place}/train-*.parquet and test-*.parquet), and downloading it failed: {reason}. "
            "Put one of them there, or name the folder that holds it with data.root=… or the "
            "variable LRD_DATA"
        ) from error


def _unpickled(source: _Source, files: list[tuple[Path, str]]) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for path, md5 in files:
        content = read_bytes(path)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise DataError(
                f"{path} is not {source.name}'s (md5 {md5} expected). Delete it and run again to "
                "download it"
            )
        entry = pickle.loads(content, encoding="latin1")  # safe, as the digest is known
        images.append(entry["data"])
        labels.extend(entry[source.archive_label])
    pixels = torch.from_numpy(np.concatenate(images).reshape(-1, 3, 32, 32))
    return pixels, torch.tensor(labels)
