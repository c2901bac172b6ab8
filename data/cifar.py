"""CIFAR-10 and CIFAR-100, https://www.cs.toronto.edu/~kriz/cifar.html.

From torchvision's archives, or from parquet files as the Hugging Face hub holds them:
`root`/cifar10/train-*.parquet and test-*.parquet with columns `img` (encoded bytes) and `label`,
`root`/cifar100 with `fine_label`. What is there is read, the archive first; nothing there: the
archive is downloaded.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from data.batches import DataError, Dataset, take
from data.download import one_at_a_time

PADDING = 4
_JPEG = b"\xff\xd8"


class _Source(NamedTuple):
    """One of the two data sets; mean and std are of its training pixels, scaled to [0, 1]."""

    name: str
    archive: type[CIFAR10]
    folder: str  # of the parquet files
    label: str
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_CIFAR10 = _Source(
    "CIFAR-10", CIFAR10, "cifar10", "label", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
)
_CIFAR100 = _Source(
    "CIFAR-100", CIFAR100, "cifar100", "fine_label", 100,
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
    parquet = Path(root) / source.folder
    archive = Path(root) / source.archive.base_folder
    if not archive.is_dir() and any(parquet.glob("*.parquet")):
        train, kind = _from_parquet(source, parquet, "train", subset)
        test, _ = _from_parquet(source, parquet, "test", test_subset)
        copy = " (JPEG copy)" if kind == "JPEG" else ""
        provenance = {
            "name": source.name + copy,
            "format": f"parquet of {kind} images",
            "sha256": _digest(parquet),
        }
    else:
        train, test = (_from_archive(source, root, train) for train in (True, False))
        provenance = {"name": source.name, "format": "torchvision archive"}
    dataset = Dataset(*train, *test, provenance, source.mean, source.std, PADDING)
    return take(dataset, subset, test_subset)


def _digest(folder: Path) -> str:
    """Of all parquet files in a folder, which bring no checksum of their own."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.parquet")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _from_archive(source: _Source, root: str, train: bool) -> tuple[Tensor, Tensor]:
    """torchvision compares each file's md5 before it reads it."""
    try:
        with one_at_a_time(root):
            archive = source.archive(root, train=train, download=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        place = Path(root) / source.folder
        raise DataError(
            f"no {source.name} in {root} (expected {source.archive.base_folder}/ or "
            f"{place}/train-*.parquet and test-*.parquet), and downloading it failed: {reason}. "
            "Put one of them there, or name the folder that holds it with data.root=… or the "
            "variable LRD_DATA"
        ) from error
    return torch.from_numpy(archive.data).permute(0, 3, 1, 2), torch.tensor(archive.targets)


def _from_parquet(
    source: _Source, folder: Path, split: str, subset: int | None
) -> tuple[tuple[Tensor, Tensor], str]:
    """Images and labels of a split, at most the first `subset`, and the images' encoding."""
    place = folder / f"{split}-*.parquet"
    paths = sorted(folder.glob(place.name))
    if not paths:
        raise DataError(f"no {place} beside the other split's files there")
    for path in paths:
        parts = re.fullmatch(rf"{split}-\d+-of-0*(\d+)\.parquet", path.name)
        if parts and int(parts[1]) != len(paths):
            raise DataError(
                f"{folder} has {len(paths)} of the {parts[1]} files {place.name} that "
                f"{path.name} speaks of: put all of them there, and no others"
            )
    table = pa.concat_tables(_read_table(path, source.label) for path in paths)
    table = table.slice(0, subset if subset and subset > 0 else None)
    labels = torch.from_numpy(table[source.label].to_numpy().astype(np.int64))
    if len(wrong := labels[(labels < 0) | (labels >= source.classes)]):
        raise DataError(
            f"{place}: {source.label} must be in 0 … {source.classes - 1}, got {wrong[0]}: it is "
            "damaged or another data set. Replace it"
        )
    encoded = [image["bytes"] for image in table["img"].to_pylist()]
    images = torch.stack(
        [_decode(each, f"image {row} of {place}") for row, each in enumerate(encoded)]
    )
    return (images, labels), "JPEG" if encoded[0].startswith(_JPEG) else "PNG"


def _read_table(path: Path, label: str) -> pa.Table:
    """The columns `img` and `label` of a parquet file."""
    try:
        schema = pq.read_schema(path)
        table = pq.read_table(
            path, columns=[name for name in ("img", label) if name in schema.names]
        )
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no readable parquet file ({str(error).splitlines()[0]}). Replace it"
        ) from error
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    image, number = kinds.get("img"), kinds.get(label)
    right = image is not None and pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    if not right or number is None or not pa.types.is_integer(number):
        found = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise DataError(
            f"{path} must have the columns img (a struct with bytes) and {label} (integers), it "
            f"has {found}. Replace it"
        )
    return table


def _decode(encoded: bytes | None, place: str) -> Tensor:
    """An encoded image to uint8 (3, 32, 32)."""
    try:
        image = np.array(Image.open(io.BytesIO(encoded or b"")).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's, by what is broken
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{place} cannot be decoded ({reason}): it is damaged. Replace it"
        ) from error
    if image.shape != (32, 32, 3):
        raise DataError(f"{place} has shape {image.shape}, expected (32, 32, 3)")
    return torch.from_numpy(image).permute(2, 0, 1)
