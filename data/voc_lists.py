"""Folders and image lists of the PASCAL VOC devkit and of SBD, downloaded when absent.

<root>/VOCdevkit/VOC<year>/   http://host.robots.ox.ac.uk/pascal/VOC/
<root>/sbd/                   http://home.bharathh.info/pubs/codes/SBD/download.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from torchvision.datasets import SBDataset, VOCDetection

from data.batches import DataError
from data.download import one_at_a_time
from data.files import decode_text, read_bytes

CLASSES = (  # numbered from 1; 0 is the background
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
OFFICIAL_SIZES = {  # images in the lists as published
    "VOC2012/Segmentation/train": 1_464,
    "VOC2012/Segmentation/val": 1_449,
    "VOC2012/Segmentation/trainaug": 10_582,
    "VOC2007/Main/trainval": 5_011,
    "VOC2007/Main/test": 4_952,
    "VOC2012/Main/train": 5_717,
    "VOC2012/Main/val": 5_823,
    "VOC2012/Main/trainval": 11_540,
}
_AUGMENTED = ("trainaug", "train_aug")  # as the augmented training list is spelt
_FILE = re.compile(r"[/\\]|\.(?:jpe?g|png)$", re.IGNORECASE)  # in a path or file's name


def voc_folder(root: Path, year: str, image_set: str) -> Path:
    """`root`/VOCdevkit/VOC`year`; downloaded if absent, as is VOC2007's test set, which is apart.

    Raises DataError if that fails.
    """
    folder = root / "VOCdevkit" / f"VOC{year}"
    apart = (year, image_set) == ("2007", "test")
    with one_at_a_time(root):
        if not folder.is_dir() or (apart and not (folder / "ImageSets/Main/test.txt").is_file()):
            image_set = "test" if apart else "trainval"
            where = f"no VOC{year} {image_set} in {folder}"
            _download(where, VOCDetection, str(root), year=year, image_set=image_set, download=True)
    return folder


def sbd_folder(root: Path) -> Path:
    """`root`/sbd with SBD's train.txt, val.txt and cls; downloaded if absent, or DataError."""
    folder = root / "sbd"
    with one_at_a_time(root):
        if not (folder / "train.txt").is_file():
            _download(f"no SBD in {folder}", SBDataset, str(folder), download=True)
    return folder


def _download(where: str, dataset: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    try:
        dataset(*arguments, **keywords)
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{where}, and downloading it failed: {reason}. Unpack it there, or name the folder "
            "that holds VOCdevkit (and sbd) with data.root=… or the variable LRD_DATA"
        ) from error


def read_list(path: Path) -> list[str]:
    """The image names of a list file, a line each. DataError if missing, empty or repetitive.

    A line's first column is a name, or the path of an image; what follows is a mark, as the
    devkit's lists of a class have, or the path of the image's mask.
    """
    if not path.is_file():
        lists = ", ".join(sorted(file.name for file in path.parent.glob("*.txt"))) or "none"
        raise DataError(
            f"no list of images {path} (lists there: {lists}): put it there, or name another one "
            "with data.train and data.test"
        )
    lines = decode_text(read_bytes(path), path).splitlines()
    names = [_name(line.split(), path) for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path} names no image: restore it from the devkit")
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise DataError(f"{path} names {', '.join(sorted(twice)[:5])} more than once: restore it")
    return names


def _name(columns: list[str], path: Path) -> str:
    """The image's name in a line's columns."""
    stems = [
        PurePosixPath(column.replace("\\", "/")).stem if _FILE.search(column) else column
        for column in columns
    ]
    if len(columns) > 1 and _FILE.search(columns[1]) and stems[0] != stems[1]:
        raise DataError(
            f"{path} pairs the image {columns[0]} with the mask {columns[1]}: expected two files "
            "of one name. Correct the line"
        )
    return stems[0]


def train_aug(sbd: Iterable[str], voc_train: Iterable[str], voc_val: Iterable[str]) -> list[str]:
    """The augmented training list, sorted: SBD ∪ VOC train − VOC val."""
    return sorted((set(sbd) | set(voc_train)) - set(voc_val))


def list_key(name: str) -> str:
    """A segmentation list's name as it is recorded: trainaug for its other spelling."""
    return "trainaug" if name in _AUGMENTED else name


def segmentation_list(root: Path, folder: Path, name: str) -> list[str]:
    """A list of ImageSets/Segmentation; `trainaug` is computed where the devkit has no such file.

    The devkit of the challenge has none; the one that comes with SegmentationClassAug does.
    """
    lists = folder / "ImageSets" / "Segmentation"
    if name != "trainaug":
        return read_list(lists / f"{name}.txt")
    for spelling in _AUGMENTED:
        if (lists / f"{spelling}.txt").is_file():
            return read_list(lists / f"{spelling}.txt")
    sbd = sbd_folder(root)
    both = read_list(sbd / "train.txt") + read_list(sbd / "val.txt")
    return train_aug(both, read_list(lists / "train.txt"), read_list(lists / "val.txt"))


def detection_list(root: Path, key: str) -> list[tuple[Path, str]]:
    """Each image's devkit folder and name, of a list given as VOC<year>/<list> in ImageSets/Main.

    DataError if `key` is not of that form.
    """
    found = re.fullmatch(r"VOC(\d{4})/(\w+)", key)
    if found is None:
        raise DataError(f"data.train and data.test name lists like VOC2007/trainval, got {key!r}")
    year, name = found.groups()
    folder = voc_folder(root, year, name)
    return [(folder, image) for image in read_list(folder / "ImageSets" / "Main" / f"{name}.txt")]


def check_sizes(sizes: dict[str, int]) -> None:
    """Raise DataError for a list, by its key in OFFICIAL_SIZES, that is not of published size."""
    for key, size in sizes.items():
        published = OFFICIAL_SIZES.get(key)
        if size != published:
            expected = f"{published:,}" if published else "is not known here"
            raise DataError(
                f"{key} has {size:,} images, the published list {expected}: complete the data "
                "set, or run on what there is with data.complete=false"
            )
