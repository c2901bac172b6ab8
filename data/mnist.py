"""MNIST from the idx files that torchvision reads, http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor
from torchvision.datasets import MNIST

from data.batches import DataError, Dataset, take
from data.download import one_at_a_time

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
    raw = Path(root) / "MNIST" / "raw"
    with one_at_a_time(root):
        if not all((raw / name).is_file() for name in _FILES):
            _download(root, raw)
    for name in _FILES:
        _check(raw / name)
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    dataset = Dataset(
        scaled(train.data, standardised),
        train.targets,
        scaled(test.data, standardised),
        test.targets,
        {"name": "MNIST", "format": "idx", "md5": _FILES["train-images-idx3-ubyte"][1]},
    )
    return take(dataset, subset, test_subset)


def _download(root: str, raw: Path) -> None:
    try:
        MNIST(root, train=True, download=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or ["no message"])[0].rstrip(":")
        raise DataError(
            f"no MNIST in {raw} (expected {', '.join(_FILES)}), and downloading it failed: "
            f"{reason}. Put the four files there, or name the folder that holds MNIST/raw with "
            "data.root=… or the variable LRD_DATA"
        ) from error


def _check(path: Path) -> None:
    size, md5 = _FILES[path.name]
    found = path.stat().st_size
    if found != size:
        raise DataError(
            f"{path} has {found} bytes, MNIST's has {size}: it is truncated or another file. "
            "Delete it and run again to download it"
        )
    if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{path} is not MNIST's (md5 {md5} expected). Delete it and run again to download it"
        )
