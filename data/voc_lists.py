"""Folders and image lists of the PASCAL VOC devkit and of SBD, downloaded when absent.

<root>/VOCdevkit/VOC<year>/   http://host.robots.ox.ac.uk/pascal/VOC/
<root>/sbd/                   http://home.bharathh.info/pubs/codes/SBD/download.html
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PureWindowsPath

from torchvision.datasets import SBDataset, VOCDetection

from data.batches import DataError
from data.files import decoding, download_missing, read_bytes

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


def voc_list(root: Path, key: str) -> list[tuple[Path, str]]:
    """Each image's devkit folder and name, of a list in ImageSets given as VOC2007/Main/trainval.

    DataError if `key` is not of that form, or the list is not what it should be.
    """
    match = re.fullmatch(r"VOC(\d{4})/(\w+)/([^/]+)", key)
    if match is None:
        given = key.replace("/Main/", "/")
        raise DataError(f"data.train and data.test name lists like VOC2007/trainval, got {given!r}")
    year, kind, name = match.groups()
    folder = _devkit(root, year, name)
    lists = folder / "ImageSets" / kind
    path = lists / f"{name}.txt"
    if name == "trainaug" and not path.is_file():
        path = lists / "train_aug.txt"
        if not path.is_file():
            return [(folder, image) for image in _augmented(root, lists)]
    return [(folder, image) for image in read_list(path)]


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
    names = []
    with decoding(path, "a list of images", "correct it, or save it as UTF-8"):
        for line in read_bytes(path).decode("utf-8-sig").splitlines():
            columns = line.split()
            stems = [
                re.sub(r"\.(jpe?g|png)$", "", PureWindowsPath(column).name, flags=re.IGNORECASE)
                for column in columns
            ]
            if len(columns) > 1 and stems[1] != columns[1] and stems[0] != stems[1]:
                raise ValueError(f"it pairs the image {columns[0]} with the mask {columns[1]}")
            names += stems[:1]
        if not names:
            raise ValueError("it names no image")
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise ValueError(f"it names {', '.join(repeated[:5])} more than once")
    return names


def _devkit(root: Path, year: str, name: str) -> Path:
    """`root`/VOCdevkit/VOC`year`, downloaded if absent; VOC2007's test set is a download apart."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    apart = (year, name) == ("2007", "test")
    path = folder / "ImageSets/Main/test.txt" if apart else folder
    keys = {"year": year, "image_set": "test" if apart else "trainval"}
    what = f"VOC{year} {keys['image_set']} in {folder}"
    download_missing(root, [path], what, lambda: VOCDetection(str(root), download=True, **keys))
    return folder


def _augmented(root: Path, lists: Path) -> list[str]:
    """SBD ∪ VOC train − VOC val, sorted: the list trainaug, which the challenge's devkit has not.

    The one that comes with SegmentationClassAug has it.
    """
    sbd = root / "sbd"
    what = f"SBD in {sbd}"
    download_missing(root, [sbd / "train.txt"], what, lambda: SBDataset(str(sbd), download=True))
    paths = (sbd / "train.txt", sbd / "val.txt", lists / "train.txt")
    names = {name for path in paths for name in read_list(path)}
    return sorted(names - set(read_list(lists / "val.txt")))
