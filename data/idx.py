"""The idx files of MNIST and its relatives, http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.batches import DataError
from data.files import MAX_BYTES, read_bytes

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> Tensor:
    """Takes an idx file, or one in .gz, and returns its numbers, in its type and shape.

    Raises DataError if it is missing, damaged or no idx file.
    """
    path = Path(path)
    content = read_bytes(path)
    if path.suffix == ".gz":
        content = _unpacked(content, path)
    return decode_idx(content, path)


def decode_idx(content: bytes, path: Path) -> Tensor:
    """The numbers of an idx file's content. DataError, which names `path`, if it is none."""
    kind, rank = (content[2], content[3]) if len(content) >= 4 else (0, 0)
    start = 4 + 4 * rank
    if content[:2] != b"\0\0" or kind not in _TYPES or len(content) < start:
        raise DataError(
            f"{path} is no idx file: it begins with {content[:4].hex() or 'nothing'}, expected "
            "0000, a type and the number of dimensions. Replace it"
        )
    shape = struct.unpack(f">{rank}I", content[4:start])
    numbers = np.dtype(_TYPES[kind])
    size = start + math.prod(shape) * numbers.itemsize
    if len(content) != size:
        raise DataError(
            f"{path} has {len(content):,} bytes, its header says {size:,}: it is truncated or "
            "damaged. Replace it"
        )
    try:
        values = np.frombuffer(content, numbers, offset=start).reshape(shape)
    except ValueError as error:  # dimensions beyond NumPy's, of which one is 0 or all are 1
        raise DataError(f"{path} has a header of shape {shape} ({error}). Replace it") from error
    return torch.from_numpy(values.astype(numbers.newbyteorder("=")))


def _unpacked(content: bytes, path: Path) -> bytes:
    try:
        with gzip.open(BytesIO(content)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Replace it") from error
    if len(unpacked) > MAX_BYTES:
        raise DataError(f"{path} unpacks to more than {MAX_BYTES:,} bytes. Replace it")
    return unpacked
