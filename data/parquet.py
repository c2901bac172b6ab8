"""Labelled images of 32 × 32 pixels in parquet files, in the layouts of the Hugging Face hub.

`train-00000-of-00001.parquet`, or `train/0000.parquet` where the hub has converted them; in the
data set's folder itself or in one below it, as cifar10/plain_text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from data.batches import DataError
from data.files import MAX_BYTES, decode_image, read_bytes

_ROWS = 256  # that are in memory as encoded bytes at a time
_JPEG = b"\xff\xd8"
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


class Split(NamedTuple):
    """A split's files, the column of its labels, how many classes, and how many rows at most."""

    paths: list[Path]
    label: str
    classes: int
    rows: int


def parquet_files(folder: Path) -> dict[str, list[Path]] | None:
    """The files of both splits in `folder` or a folder below it, None if there are none at all.

    Raises DataError if a file or a split is missing, or more than one folder has some.
    """
    if not folder.is_dir():
        return None
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    places = {place: _splits(place) for place in (folder, *below)}
    places = {place: splits for place, splits in places.items() if any(splits.values())}
    if not places:
        return None
    if len(places) > 1:
        raise DataError(
            f"{' and '.join(map(str, places))} have parquet files: keep one of these folders"
        )
    ((place, splits),) = places.items()
    for split, paths in splits.items():
        if not paths:
            raise DataError(
                f"no {place}/{split}-*.parquet or {place}/{split}/*.parquet beside the other "
                "split's files: put them there"
            )
        _check_numbers(split, paths)
    return splits


def _splits(folder: Path) -> dict[str, list[Path]]:
    return {
        split: sorted(folder.glob(f"{split}-*.parquet"))
        or sorted(folder.glob(f"{split}/*.parquet"))
        for split in ("train", "test")
    }


def _check_numbers(split: str, paths: list[Path]) -> None:
    """DataError unless the files' numbers are those of one whole set."""
    folder, totals = paths[0].parent, set()
    for number, path in enumerate(paths):
        name = re.fullmatch(rf"(?:{split}-)?(\d+)(?:-of-(\d+))?\.parquet", path.name)
        if name and name[2]:
            totals.add(int(name[2]))
        if name and int(name[1]) != number and not name[2]:
            raise DataError(f"{folder} has {path.name}, but not the file of number {number}")
    if totals and totals != {len(paths)}:
        raise DataError(
            f"{folder} has {len(paths)} of the {max(totals)} files {split}-*.parquet that "
            f"{paths[-1].name} speaks of: put all of them there, and no others"
        )


def read_split(split: Split, subset: int | None, digest: Any) -> tuple[Tensor, Tensor, str]:
    """Images (N, 3, 32, 32) uint8, labels (N,) int64 and the encoding, JPEG or PNG, of a split.

    At most the first `subset`. The bytes of all its files go into `digest`, of hashlib, as read.
    Raises DataError, which names the file, if one is not what it should be.
    """
    images, labels, kind = [], [], ""
    wanted = subset if subset and subset > 0 else split.rows
    total = 0
    for path in split.paths:
        content = read_bytes(path)
        digest.update(content)
        table = _open(content, path, split.label)
        total += table.metadata.num_rows
        if total > split.rows:
            raise DataError(
                f"{path.parent} has more than {split.rows:,} rows of a split, which is not "
                f"CIFAR's: {path.name} is of another data set. Replace it"
            )
        for row, (image, label) in enumerate(_rows(table, path, split.label)):
            if len(labels) == wanted:
                break
            images.append(_image(image, f"image {row} of {path}"))
            labels.append(_label(label, split, f"row {row} of {path}"))
            kind = kind or ("JPEG" if image["bytes"].startswith(_JPEG) else "PNG")
    if not labels:
        names = ", ".join(map(str, split.paths))
        raise DataError(f"{names} has no rows, expected images and {split.label}: replace it")
    return torch.stack(images), torch.tensor(labels), kind


def _open(content: bytes, path: Path, label: str) -> pq.ParquetFile:
    """A parquet file that has the columns `img` and `label`."""
    try:
        table = pq.ParquetFile(pa.BufferReader(content))
        schema, metadata = table.schema_arrow, table.metadata
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    size = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    if size > MAX_BYTES:
        raise DataError(f"{path} unpacks to {size:,} bytes, expected at most {MAX_BYTES:,}")
    kinds = {field.name: field.type for field in schema}
    image, number = kinds.get("img", pa.null()), kinds.get(label)
    inside = {field.name: field.type for field in image} if pa.types.is_struct(image) else {}
    right = inside.get("bytes") in (pa.binary(), pa.large_binary())
    if not right or number is None or not pa.types.is_integer(number):
        columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise DataError(
            f"{path} must have the columns img (a struct with bytes) and {label} (integers), it "
            f"has {columns}. Replace it"
        )
    return table


def _rows(table: pq.ParquetFile, path: Path, label: str) -> Iterator[tuple[Any, Any]]:
    """Image and label of each row."""
    try:
        for batch in table.iter_batches(_ROWS, columns=["img", label]):
            yield from zip(batch["img"].to_pylist(), batch[label].to_pylist(), strict=True)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _image(image: dict[str, Any] | None, place: str) -> Tensor:
    """An encoded image to uint8 (3, 32, 32)."""
    encoded = image and image["bytes"]
    if not encoded:
        raise DataError(f"{place} has no bytes, expected an encoded image: replace the file")
    pixels, _ = decode_image(encoded, place, "RGB")
    if pixels.shape != (32, 32, 3):
        raise DataError(f"{place} has shape {pixels.shape}, expected (32, 32, 3)")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _label(label: int | None, split: Split, place: str) -> int:
    if label is None or not 0 <= label < split.classes:
        raise DataError(
            f"{place}: {split.label} must be in 0 … {split.classes - 1}, got {label}: it is "
            "damaged or another data set. Replace it"
        )
    return label


def _damaged(path: Path, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{path} is no readable parquet file ({reason}). Replace it")
