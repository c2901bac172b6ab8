"""MNIST from its idx files, where torchvision puts them: <root>/MNIST/raw."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor
from torchvision.datasets import MNIST

from data.batches import DataError, Dataset, take
from data.download import one_at_a_time
from data.files import data_root, read_bytes
from data.idx import decode_idx

MEAN, STD = 0.1307, 0.3081  # of the training pixels, scaled to [0, 1]
_FILES = {  # bytes and md5 of the uncompressed files
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}


def scaled(pixels: Tensor, standardised: bool = True) -> Tensor:
    """Pixels 0–255 (N, 28, 28) to float32 (N, 1, 28, 28): standardised, or in [0, 1]."""
    images = pixels.float() / 255
    return ((images - MEAN) / STD if standardised else images)[:, None]


def mnist(
    root: str, subset: int | None = None, test_subset: int | None = None, standardised: bool = True
) -> Dataset:
    """60,000 training and 10,000 test digits, or the first `subset` and `test_subset` of them.

    Their pixels are standardised, or else left in [0, 1].
    Read from `root`/MNIST/raw, downloaded there when absent. Raises DataError when a file is
    missing and cannot be downloaded, is truncated, or is not MNIST's.
    """
    folder = data_root(root)
    raw = folder / "MNIST" / "raw"
    with one_at_a_time(folder):
        if not all((raw / name).is_file() for name in _FILES):
            _download(folder, raw)
    train, train_labels, test, test_labels = (_read(raw / name) for name in _FILES)
    dataset = Dataset(
        scaled(train, standardised),
        train_labels.long(),
        scaled(test, standardised),
        test_labels.long(),
        {"name": "MNIST", "format": "idx", "md5": _FILES["train-images-idx3-ubyte"][1]},
    )
    return take(dataset, subset, test_subset)


def _download(root: Path, raw: Path) -> None:
    try:
        MNIST(str(root), train=True, download=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or ["no message"])[0].rstrip(":")
        raise DataError(
            f"no MNIST in {raw} (expected {', '.join(_FILES)}), and downloading it failed: "
            f"{reason}. Put the four files there, or name the folder that holds MNIST/raw with "
            "data.root=… or the variable LRD_DATA"
        ) from error


def _read(path: Path) -> Tensor:
    """The numbers of one of MNIST's files: of the very bytes whose digest is MNIST's."""
    size, md5 = _FILES[path.name]
    content = read_bytes(path)
    if len(content) != size:
        raise DataError(
            f"{path} has {len(content)} bytes, MNIST's has {size}: it is truncated or another "
            "file. Delete it and run again to download it"
        )
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{path} is not MNIST's (md5 {md5} expected). Delete it and run again to download it"
        )
    return decode_idx(content, path)
