"""MNIST from its idx files, where torchvision puts them: <root>/MNIST/raw.

The format is described at http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.batches import DataError, Dataset, take
from data.files import data_root, decoding, download_missing, genuine_bytes, read_bytes

MEAN, STD = 0.1307, 0.3081  # of the training pixels, scaled to [0, 1]
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MD5 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def scaled(pixels: Tensor, standardised: bool = True) -> Tensor:
    """Pixels 0–255 (N, 28, 28) to float32 (N, 1, 28, 28): standardised, or in [0, 1]."""
    images = pixels.float() / 255
    return ((images - MEAN) / STD if standardised else images)[:, None]


def mnist(
    root: str,
    subset: int | None = None,
    test_subset: int | None = None,
    standardised: bool = True,
    held_out: int = 0,
) -> Dataset:
    """60,000 training and 10,000 test digits, or the first `subset` and `test_subset` of them.

    With `held_out` the last so many training digits are the test digits, and are not trained on.
    Pixels are standardised, or else left in [0, 1].
    Read from `root`/MNIST/raw, downloaded there when absent. Raises DataError when a file is
    missing and cannot be downloaded, or is not MNIST's.
    """
    folder = data_root(root)
    raw = folder / "MNIST" / "raw"
    download_missing(
        folder,
        [raw / name for name in _MD5],
        f"MNIST in {raw} (expected {', '.join(_MD5)})",
        lambda: _download(folder),
    )
    train, train_labels, test, test_labels = (
        _decode(genuine_bytes(raw / name, "MNIST", md5), raw / name) for name, md5 in _MD5.items()
    )
    if not 0 <= held_out < len(train):
        raise DataError(f"data.held_out must be in 0 … {len(train) - 1}, got {held_out}")
    name = "MNIST"
    if held_out:
        name = f"MNIST, {held_out:,} training images held out"
        test, test_labels = train[-held_out:], train_labels[-held_out:]
        train, train_labels = train[:-held_out], train_labels[:-held_out]
    dataset = Dataset(
        scaled(train, standardised),
        train_labels.long(),
        scaled(test, standardised),
        test_labels.long(),
        {"name": name, "format": "idx", "md5": _MD5["train-images-idx3-ubyte"]},
    )
    return take(dataset, subset, test_subset)


def _download(folder: Path) -> None:
    from torchvision.datasets import MNIST  # slow to load, and most have the files

    MNIST(str(folder), download=True)


def read_idx(path: str | Path) -> Tensor:
    """Takes an idx file and returns its numbers, in its type and shape.

    Raises DataError if it is missing, damaged or no idx file.
    """
    return _decode(read_bytes(Path(path)), Path(path))


def _decode(content: bytes, path: Path) -> Tensor:
    """The numbers of an idx file's content: two zeros, a type, a rank, the shape, the values."""
    with decoding(path, "an idx file"):
        zeros, kind, rank = struct.unpack(">HBB", content[:4])
        if zeros or kind not in _TYPES:
            raise ValueError(f"it begins with {content[:4].hex()}")
        numbers, start = np.dtype(_TYPES[kind]), 4 + 4 * rank
        shape = struct.unpack(f">{rank}I", content[4:start])
        values = np.frombuffer(content, numbers, offset=start).reshape(shape)
        return torch.from_numpy(values.astype(numbers.newbyteorder("=")))
