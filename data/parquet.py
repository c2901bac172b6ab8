"""Labelled images of 32 × 32 pixels in parquet files, in the layouts of the Hugging Face hub.

`train-00000-of-00001.parquet`, or `train/0000.parquet` where the hub has converted them; in the
data set's folder itself or in one below it, as cifar10/plain_text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from data.batches import DataError
from data.files import MAX_BYTES, decode_image, decoding, read_bytes

_MAX_ROWS = 50_000  # of a file: as many as a whole split of CIFAR
_BATCH = 256  # rows that are in memory as encoded bytes at a time


def parquet_files(folder: Path) -> dict[str, list[Path]] | None:
    """The files of the splits train and test in `folder` or one below it; None if it has none.

    Raises DataError if a file or a split is missing, or a split is in more than one folder.
    """
    layouts = ("{}-*.parquet", "{}/*.parquet", "*/{}-*.parquet", "*/{}/*.parquet")
    splits = {
        split: sorted({path for layout in layouts for path in folder.glob(layout.format(split))})
        for split in ("train", "test")
    }
    if not any(splits.values()):
        return None
    for split, paths in splits.items():
        places = sorted({str(path.parent) for path in paths})
        if len(places) != 1:
            raise DataError(
                f"{split}-*.parquet or {split}/*.parquet are in {' and '.join(places) or 'no'} "
                f"folder of {folder}, expected one: put there the files of one whole data set"
            )
        for number, path in enumerate(paths):
            name = re.fullmatch(r"(?:\w+-)?(\d+)(?:-of-(\d+))?.*", path.stem)
            if name and (int(name[1]), int(name[2] or len(paths))) != (number, len(paths)):
                raise DataError(
                    f"{path} is file {number} of the {len(paths)} in its folder, which its name "
                    f"denies: put all files of the split {split} there, and no others"
                )
    return splits


def read_split(
    paths: list[Path], label: str, classes: int, subset: int | None, digest: Any
) -> tuple[Tensor, Tensor, str]:
    """Images (N, 3, 32, 32) uint8, labels (N,) int64 and the encoding, JPEG or PNG, of a split.

    At most the first `subset`. The bytes of all its files go into `digest`, of hashlib, as read.
    Raises DataError, which names the file, if one is not what it should be.
    """
    images, labels, kind = [], [], ""
    for path in paths:
        content = read_bytes(path)
        digest.update(content)
        for row, (encoded, number) in enumerate(_rows(content, path, label)):
            if subset and len(labels) == subset:
                break
            place = f"row {row} of {path}"
            with decoding(place, f"an image of 32 × 32 pixels with a label below {classes}"):
                if not encoded or number is None or not 0 <= number < classes:
                    raise ValueError(f"{len(encoded or b'')} bytes with {label} {number}")
                pixels = decode_image(encoded, place, "RGB")
                if pixels.shape != (32, 32, 3):
                    raise ValueError(f"an image of shape {pixels.shape}")
            images.append(torch.from_numpy(pixels).permute(2, 0, 1))
            labels.append(number)
            kind = kind or ("JPEG" if encoded.startswith(b"\xff\xd8") else "PNG")
    if not labels:
        raise DataError(f"{paths[0]} has no rows, expected images and {label}: replace it")
    return torch.stack(images), torch.tensor(labels), kind


def _rows(content: bytes, path: Path, label: str) -> Iterator[tuple[bytes | None, int | None]]:
    """The encoded image and the label of each row; None where it has none."""
    expected = f"parquet with the columns img (a struct with bytes) and {label} (integers)"
    with decoding(path, expected, also=(pa.ArrowException,)):
        table = pq.ParquetFile(pa.BufferReader(content))
        groups = [table.metadata.row_group(index) for index in range(table.num_row_groups)]
        rows, size = table.metadata.num_rows, sum(group.total_byte_size for group in groups)
        if rows > _MAX_ROWS or size > MAX_BYTES:
            raise DataError(
                f"{path} unpacks to {rows:,} rows and {size:,} bytes, expected at most "
                f"{_MAX_ROWS:,} and {MAX_BYTES:,}: it is of another data set. Replace it"
            )
        for batch in table.iter_batches(_BATCH, columns=["img", label]):
            images = pc.struct_field(batch["img"], "bytes").cast(pa.binary())
            labels = batch[label].cast(pa.int64())
            yield from zip(images.to_pylist(), labels.to_pylist(), strict=True)
