"""VOC's files, damaged: each is named, with what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.batches import DataError
from helpers.drawn import CPU, detection, devkit, segmentation, streams
from tests.data.test_voc import FIRST, edit_box


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_mask(path: Path, change) -> None:
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


IMAGE, MASK, XML = (
    f"{folder}/{FIRST}.{kind}"
    for folder, kind in (
        ("JPEGImages", "jpg"),
        ("SegmentationClass", "png"),
        ("Annotations", "xml"),
    )
)
UNREADABLE = "cannot be read as an image"
BOTH, SEGMENTATION, DETECTION = (segmentation, detection), (segmentation,), (detection,)
DAMAGE = {
    "missing image": (IMAGE, Path.unlink, BOTH, "is missing"),
    "truncated image": (IMAGE, truncate, BOTH, UNREADABLE),
    "text instead of an image": (
        IMAGE,
        lambda p: p.write_text("x"),
        BOTH,
        "cannot be read as an image",
    ),
    "truncated mask": (MASK, truncate, SEGMENTATION, UNREADABLE),
    "mask of another size": (
        MASK,
        lambda p: save_mask(p, lambda mask: mask[:-3]),
        SEGMENTATION,
        r"pixels, its image .*restore it",
    ),
    "mask of an unknown class": (
        MASK,
        lambda p: save_mask(p, lambda mask: np.full_like(mask, 21)),
        SEGMENTATION,
        r"a mask of classes 0 … 20 and 255 .*class 21",
    ),
    "mask in colours": (
        MASK,
        lambda p: save_mask(p, lambda mask: np.stack([mask] * 3, axis=2)),
        SEGMENTATION,
        "a mask of classes .*not grey or a palette's",
    ),
    "truncated annotation": (XML, truncate, DETECTION, "cannot be read as XML"),
    "missing annotation": (XML, Path.unlink, DETECTION, "is missing"),
    "unknown class": (
        XML,
        lambda p: edit_box(p.parent.parent, name="unicorn"),
        DETECTION,
        "one of VOC's 20 classes .*class is 'unicorn'",
    ),
    "coordinate that is no number": (
        XML,
        lambda p: edit_box(p.parent.parent, xmax="wide"),
        DETECTION,
        "four numbers .*'wide'",
    ),
    "coordinate that is not finite": (
        XML,
        lambda p: edit_box(p.parent.parent, ymax="nan"),
        DETECTION,
        "four numbers .*nan",
    ),
}


@pytest.mark.parametrize(
    ("damage", "read"), [(key, read) for key, value in DAMAGE.items() for read in value[2]]
)
def test_a_damaged_file_is_named(tmp_path, damage, read):
    folder = devkit(tmp_path)
    name, change, _, message = DAMAGE[damage]
    read(tmp_path)
    change(folder / name)
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path)
    assert str(folder / name) in str(error.value)


def test_an_image_without_any_mask_is_named(tmp_path):
    folder = devkit(tmp_path)
    for part in ("SegmentationClass", "SegmentationClassAug"):
        (folder / part / f"{FIRST}.png").unlink()
    with pytest.raises(DataError, match=f"no mask of {FIRST}: expected one of"):
        segmentation(tmp_path)


def test_a_file_damaged_later_is_named_from_worker_processes_too(tmp_path):
    folder = devkit(tmp_path)
    data = segmentation(tmp_path, cache=False, workers=1)
    truncate(folder / IMAGE)
    train, _ = data.loaders(2, CPU)
    with pytest.raises(DataError, match=f"{FIRST}.jpg has changed since it was checked"):
        list(train.epoch(*streams()))
