"""VOC's files: lists, masks, boxes, and data that is not what it should be."""

import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from data.batches import DataError
from data.devkit import Shape, annotation, draw, drawn_detection, drawn_segmentation
from data.voc_files import decode_mask, decode_objects
from data.voc_lists import CLASSES, read_list
from helpers.drawn import CPU, detection, devkit, segmentation, streams

FIRST = "2012_000000"  # a training image that has both masks


def test_train_aug_is_computed_where_the_devkit_has_no_list(tmp_path):
    folder = devkit(tmp_path, images=6)
    (folder / "ImageSets/Segmentation/trainaug.txt").unlink()
    shutil.rmtree(folder / "SegmentationClassAug")
    sbd = tmp_path / "sbd"
    (sbd / "cls").mkdir(parents=True)
    for number in (3, 4):
        size = Image.open(folder / f"JPEGImages/2012_{number:06d}.jpg").size
        classes = np.full((size[1], size[0]), number, dtype=np.uint8)
        savemat(sbd / f"cls/2012_{number:06d}.mat", {"GTcls": {"Segmentation": classes}})
    (sbd / "train.txt").write_text("2012_000003\n2012_000006\n")  # the last is in VOC's val
    (sbd / "val.txt").write_text("2012_000004\n")
    data = segmentation(tmp_path)
    assert data.provenance["train"] == 5  # VOC's three, SBD's two
    assert [int(mask.max()) for _, mask in data.train[3:]] == [3, 4]


@pytest.mark.parametrize("split", ["train", "test"])
def test_masks_are_vocs_own_and_the_augmented_sets_where_there_are_none(tmp_path, split):
    folder = devkit(tmp_path)
    name = {"train": FIRST, "test": "2012_000006"}[split]
    path = folder / "SegmentationClassAug" / f"{name}.png"
    Image.fromarray(np.full_like(np.array(Image.open(path)), 7)).save(path)
    assert getattr(segmentation(tmp_path), split)[0][1].unique().tolist() != [7]
    (folder / "SegmentationClass" / f"{name}.png").unlink()
    assert getattr(segmentation(tmp_path), split)[0][1].unique().tolist() == [7]


def test_drawn_masks_and_boxes_say_the_same(tmp_path):
    """Each file format in turn holds one drawn shape; an off-by-one would show."""
    shape = Shape(12, 10, 20, 29, 49)
    image, mask = draw((64, 60), [shape], np.random.default_rng(0))
    mask.save(tmp_path / "mask.png")
    content = annotation("x", (64, 60), [shape]).encode()
    target, *_ = decode_objects(content, tmp_path / "x.xml", image.size)
    rows, columns = np.nonzero(np.array(mask))
    assert target["boxes"].tolist() == [[10, 20, 30, 50]]
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [10, 20, 30, 50]
    assert target["labels"].tolist() == [12] == [CLASSES.index("dog") + 1]
    path = tmp_path / "mask.png"
    assert set(decode_mask(path.read_bytes(), path).unique().tolist()) == {0, 12, 255}


def edit_box(folder: Path, image: str = FIRST, **values: object) -> None:
    path = folder / "Annotations" / f"{image}.xml"
    tree = ElementTree.parse(path)
    for tag, value in values.items():
        tree.getroot().find(f"object//{tag}").text = str(value)
    tree.write(path)


def test_boxes_outside_are_clipped_and_those_without_area_dropped_and_both_counted(tmp_path):
    folder = devkit(tmp_path)
    before = [len(target["labels"]) for _, target in detection(tmp_path).train]
    width, _ = Image.open(folder / f"JPEGImages/{FIRST}.jpg").size
    edit_box(folder, xmin=-5, ymin=3, xmax=width + 9, ymax=20)
    edit_box(folder, "2012_000001", xmin=30, xmax=20)
    edit_box(folder, "2012_000002", xmin=500, xmax=600)
    data = detection(tmp_path)
    assert data.provenance["repaired"] == {"boxes_clipped": 1, "boxes_dropped": 2}
    assert data.train[0][1]["boxes"][0].tolist() == [0, 2, width, 20]
    after = [len(target["labels"]) for _, target in data.train]
    assert after == [before[0], before[1] - 1, before[2] - 1, *before[3:]]


def test_undamaged_boxes_are_not_repaired(tmp_path):
    devkit(tmp_path)
    assert detection(tmp_path).provenance["repaired"] == {"boxes_clipped": 0, "boxes_dropped": 0}


def test_difficult_objects_are_marked(tmp_path):
    edit_box(devkit(tmp_path), difficult=1)
    assert detection(tmp_path).train[0][1]["difficult"].tolist()[0] is True


def test_an_image_without_objects_is_kept(tmp_path):
    folder = devkit(tmp_path)
    path = folder / "Annotations" / f"{FIRST}.xml"
    path.write_text("<annotation/>")
    train, _ = detection(tmp_path).loaders(6, CPU)
    ((_, targets),) = train.epoch(*streams())
    assert sorted(len(target["boxes"]) for target in targets)[0] == 0
    assert all(target["boxes"].shape[1:] == (4,) for target in targets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no list of images .*lists there: train.txt, trainaug.txt"),
        ("\n", "val.txt .*it names no image"),
    ],
)
def test_a_list_that_is_missing_or_empty_is_named(tmp_path, text, message):
    path = devkit(tmp_path) / "ImageSets/Segmentation/val.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message):
        segmentation(tmp_path)


def test_a_list_that_names_an_image_twice_is_refused(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("a\nb 1\na\n")
    with pytest.raises(DataError, match="names a more than once"):
        read_list(path)
    path.write_text("a\nb 1\n")
    assert read_list(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("read", "test"), [(segmentation, "train"), (detection, ["VOC2012/train"])]
)
def test_training_on_test_images_is_refused(tmp_path, read, test):
    devkit(tmp_path)
    with pytest.raises(DataError, match=f"test images are training images too, among them {FIRST}"):
        read(tmp_path, test=test)


@pytest.mark.parametrize("key", ["subset", "test_subset"])
@pytest.mark.parametrize("count", [0, 7])
def test_a_subset_that_is_not_there_is_refused(tmp_path, key, count):
    devkit(tmp_path)
    with pytest.raises(DataError, match=f"data.{key} must be in 1 … [26], got {count}"):
        segmentation(tmp_path, **{key: count})


def test_lists_that_are_not_of_the_published_sizes_are_refused_as_complete(tmp_path):
    devkit(tmp_path)
    with pytest.raises(DataError, match=r"trainaug has 6 images, the published list 10582"):
        segmentation(tmp_path, complete=True)
    with pytest.raises(DataError, match=r"VOC2012/Main/train has 6 images, .* 5717"):
        detection(tmp_path, complete=True)


@pytest.mark.parametrize("key", ["VOC2012", "2012/train", "VOC2012/train/x"])
def test_a_list_of_another_form_is_refused(tmp_path, key):
    with pytest.raises(DataError, match=f"lists like VOC2007/trainval, got '{key}'"):
        detection(tmp_path, train=[key])


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("read", [segmentation, detection])
def test_missing_devkits_without_a_network_say_where_and_how(tmp_path, read):
    with pytest.raises(DataError) as error:
        read(tmp_path)
    for part in ("VOC2012", str(tmp_path), "no network", "data.root", "LRD_DATA"):
        assert part in str(error.value)


@pytest.mark.usefixtures("no_network")
def test_missing_sbd_without_a_network_says_where_and_how(tmp_path):
    (devkit(tmp_path) / "ImageSets/Segmentation/trainaug.txt").unlink()
    with pytest.raises(DataError, match=r"no SBD in .*sbd, and downloading it failed: no network"):
        segmentation(tmp_path)


def test_a_part_of_the_data_is_called_one(tmp_path):
    devkit(tmp_path)
    provenance = segmentation(tmp_path).provenance
    assert len(provenance.pop("sha256")) == 64
    assert provenance == {
        "name": "VOC2012 trainaug subset, 96 px",
        "format": "devkit",
        "train": 6,
        "test": 2,
    }
    assert detection(tmp_path, max_side=48).provenance["name"] == "VOC2012 subset, 48 px"


def test_smaller_images_keep_their_proportions_masks_and_boxes(tmp_path):
    devkit(tmp_path)
    whole, small = segmentation(tmp_path), segmentation(tmp_path, max_side=48)
    for (image, _), (shrunk, mask) in zip(whole.train, small.train, strict=True):
        assert sorted(shrunk.shape[1:]) == [36, 48]
        assert shrunk.shape[1:] == mask.shape
        assert (image.shape[1] > image.shape[2]) == (shrunk.shape[1] > shrunk.shape[2])
    boxes = [detection(tmp_path, max_side=side).train[0][1]["boxes"] for side in (None, 48)]
    assert torch.allclose(boxes[0], boxes[1] * 2)


def test_a_drawn_devkit_is_written_once_and_read_again(tmp_path):
    keys = {"complete": False, "root": str(tmp_path), "images": 4, "test_images": 2}
    first = drawn_segmentation(**keys, crop=64)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = drawn_segmentation(**keys, crop=64)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert first.provenance["name"] == "drawn shapes"
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first.train, again.train, strict=True))
    assert drawn_detection(**keys).provenance["train"] == 6  # VOC2007's two and VOC2012's four


@pytest.fixture
def voc_root() -> str:
    root = os.environ.get("LRD_DATA")
    if not root or not (Path(root) / "VOCdevkit" / "VOC2012").is_dir():
        pytest.skip("LRD_DATA names no folder with VOCdevkit/VOC2012")
    return root


def test_real_voc(voc_root):
    keys = {"complete": False, "test_subset": 4, "subset": 20}
    data = segmentation(voc_root, **keys, crop=128)
    train, test = data.loaders(4, CPU)
    images, masks = next(iter(train.epoch(*streams())))
    assert images.shape == (4, 3, 128, 128)
    assert masks.shape == (4, 128, 128)
    images, masks = next(iter(test))
    assert images.shape[-2:] == masks.shape[-2:]
    assert images.shape[-1] % 8 == 0
    train, _ = detection(voc_root, **keys).loaders(4, CPU)
    _, targets = next(iter(train.epoch(*streams())))
    assert sum(len(target["labels"]) for target in targets) > 0
