"""Folders and image lists of the PASCAL VOC devkit and of SBD, downloaded when absent.

<root>/VOCdevkit/VOC<year>/   http://host.robots.ox.ac.uk/pascal/VOC/
<root>/sbd/                   http://home.bharathh.info/pubs/codes/SBD/download.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torchvision.datasets import SBDataset, VOCDetection

from data.batches import DataError

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


def voc_folder(root: str, year: str, image_set: str) -> Path:
    """`root`/VOCdevkit/VOC`year`; downloaded if absent, as is VOC2007's test set, which is apart.

    Raises DataError if that fails.
    """
    folder = Path(root) / "VOCdevkit" / f"VOC{year}"
    apart = (year, image_set) == ("2007", "test")
    if not folder.is_dir() or (apart and not (folder / "ImageSets/Main/test.txt").is_file()):
        image_set = "test" if apart else "trainval"
        where = f"no VOC{year} {image_set} in {folder}"
        _download(where, VOCDetection, root, year=year, image_set=image_set, download=True)
    return folder


def sbd_folder(root: str) -> Path:
    """`root`/sbd with SBD's train.txt, val.txt and cls; downloaded if absent, or DataError."""
    folder = Path(root) / "sbd"
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
    """The image names of a list file, a line each. DataError if missing, empty or repetitive."""
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.txt"))) or "none"
        raise DataError(f"no list of images {path} (lists there: {there})")
    names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path} names no image: restore it from the devkit")
    if len(set(names)) < len(names):
        twice = sorted(name for name in set(names) if names.count(name) > 1)
        raise DataError(f"{path} names {', '.join(twice[:5])} more than once: restore it")
    return names


def train_aug(sbd: Iterable[str], voc_train: Iterable[str], voc_val: Iterable[str]) -> list[str]:
    """The augmented training list, sorted: SBD ∪ VOC train − VOC val."""
    return sorted((set(sbd) | set(voc_train)) - set(voc_val))


def segmentation_list(root: str, folder: Path, name: str) -> list[str]:
    """A list of ImageSets/Segmentation; `trainaug` is computed where the devkit has no such file.

    The devkit of the challenge has none; the one that comes with SegmentationClassAug does.
    """
    lists = folder / "ImageSets" / "Segmentation"
    if name != "trainaug" or (lists / "trainaug.txt").is_file():
        return read_list(lists / f"{name}.txt")
    sbd = sbd_folder(root)
    both = read_list(sbd / "train.txt") + read_list(sbd / "val.txt")
    return train_aug(both, read_list(lists / "train.txt"), read_list(lists / "val.txt"))


def detection_list(root: str, key: str) -> list[tuple[Path, str]]:
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
