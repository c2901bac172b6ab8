"""VOC as people have it: spellings of lists and files, encodings, and sets without a subject."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.batches import DataError
from helpers.drawn import detection, devkit, segmentation
from tests.data.test_voc import FIRST, edit_box


def same_images(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a[0], b[0]) for a, b in zip(ours, theirs, strict=True)
    )


PATHS = "/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png\n"
LISTS = {
    "two columns of paths": (PATHS, "utf-8"),
    "paths from the devkit": (PATHS.replace(" /", " ").lstrip("/"), "utf-8"),
    "paths of Windows": (PATHS.replace("/", "\\").replace("\n", "\r\n"), "utf-8"),
    "file names": ("{name}.JPG {name}.png\n", "utf-8"),
    "names with a mark": ("{name} -1\n", "utf-8"),
    "names with a mark at the file's beginning": ("{name}\n", "utf-8-sig"),
    "names and empty lines": ("\n  {name}\t\n\n", "utf-8"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_are_read_as_people_write_them(tmp_path, kind):
    folder = devkit(tmp_path)
    expected = segmentation(tmp_path)
    line, encoding = LISTS[kind]
    for name in ("trainaug", "val"):
        path = folder / "ImageSets/Segmentation" / f"{name}.txt"
        names = path.read_text().split()
        path.write_bytes("".join(line.format(name=name) for name in names).encode(encoding))
    data = segmentation(tmp_path)
    assert same_images(data.train, expected.train)
    assert same_images(data.test, expected.test)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"/JPEGImages/a.jpg /SegmentationClassAug/b.png", "it pairs the image .* with the mask"),
        ("größe".encode("latin-1"), "val.txt cannot be read as a list .*save it as UTF-8"),
        (b"../../secret", "JPEGImages/secret.jpg is missing"),
        (b"a\0b", "is missing"),
    ],
)
def test_a_list_that_cannot_be_meant_is_named(tmp_path, content, message):
    (devkit(tmp_path) / "ImageSets/Segmentation/val.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        segmentation(tmp_path)


@pytest.mark.parametrize("asked", ["trainaug", "train_aug"])
@pytest.mark.parametrize("spelt", ["trainaug", "train_aug"])
def test_the_augmented_list_has_two_spellings(tmp_path, asked, spelt):
    lists = devkit(tmp_path) / "ImageSets/Segmentation"
    (lists / "trainaug.txt").rename(lists / f"{spelt}.txt")
    data = segmentation(tmp_path, train=asked)
    assert len(data.train) == 6
    assert data.provenance["name"].startswith("VOC2012 trainaug subset")


def test_files_are_found_whatever_the_case_of_their_endings(tmp_path):
    folder = devkit(tmp_path)
    expected = [read(tmp_path) for read in (segmentation, detection)]
    (folder / "JPEGImages" / f"{FIRST}.jpg").rename(folder / "JPEGImages" / f"{FIRST}.JPG")
    (folder / "Annotations" / f"{FIRST}.xml").rename(folder / "Annotations" / f"{FIRST}.XML")
    mask = folder / "SegmentationClass" / f"{FIRST}.png"
    mask.rename(mask.with_suffix(".PNG"))
    for read, before in zip((segmentation, detection), expected, strict=True):
        assert same_images(read(tmp_path).train, before.train)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8-sig", "utf-16", "iso-8859-1", "windows-1252", "koi8-r"],
)
def test_annotations_are_read_in_their_encoding(tmp_path, encoding):
    folder = devkit(tmp_path)
    expected = detection(tmp_path).train[0][1]
    path = folder / "Annotations" / f"{FIRST}.xml"
    letters = "снимок" if encoding == "koi8-r" else "Größe"
    text = path.read_text().replace("<filename>", f"<filename>{letters}")
    declared = encoding.replace("-sig", "")
    path.write_bytes(f'<?xml version="1.0" encoding="{declared}"?>\n{text}'.encode(encoding))
    target = detection(tmp_path).train[0][1]
    assert torch.equal(target["boxes"], expected["boxes"])
    assert torch.equal(target["labels"], expected["labels"])


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ('<?xml version="1.0" encoding="klingon"?>', "unknown encoding: klingon"),
        ('<?xml version="1.0" encoding="gb2312"?>', "multi-byte encodings are not supported"),
        ('<?xml version="1.0" encoding="ascii"?>', "not well-formed"),
        ("", "not well-formed"),
    ],
)
def test_an_annotation_in_an_encoding_that_is_not_its_own_is_named(tmp_path, head, reason):
    path = devkit(tmp_path) / "Annotations" / f"{FIRST}.xml"
    text = path.read_text().replace("<filename>", "<filename>Größe")
    path.write_bytes((head + text).encode("latin-1"))
    with pytest.raises(DataError, match=f"{FIRST}.xml cannot be read as XML .*{reason}"):
        detection(tmp_path)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("read", [segmentation, detection])
def test_an_image_replaced_after_its_check_is_never_read_with_the_old_truth(tmp_path, read, cache):
    folder = devkit(tmp_path)
    data = read(tmp_path, cache=cache)
    kept = data.train[0][0]
    other = folder / "JPEGImages" / "2012_000001.jpg"
    (folder / "JPEGImages" / f"{FIRST}.jpg").write_bytes(other.read_bytes())
    if cache:
        assert torch.equal(data.train[0][0], kept)
        return
    with pytest.raises(DataError, match=f"{FIRST}.jpg has changed since it was checked"):
        data.train[0]


@pytest.mark.parametrize("kind", ["JPEGImages", "SegmentationClass", "Annotations"])
def test_the_digest_is_of_all_files_that_are_read(tmp_path, kind):
    folder = devkit(tmp_path)
    read = detection if kind == "Annotations" else segmentation
    before = read(tmp_path).provenance["sha256"]
    assert read(tmp_path).provenance["sha256"] == before
    (path,) = (folder / kind).glob(f"{FIRST}.*")
    end = b"\n" if kind == "Annotations" else b"\0"
    path.write_bytes(path.read_bytes() + end)
    assert read(tmp_path).provenance["sha256"] != before


def all_difficult(folder, names):
    for name in names:
        path = folder / "Annotations" / f"{name}.xml"
        text = path.read_text().replace("<difficult>0<", "<difficult>1<")
        path.write_text(text)


def test_a_test_set_without_a_countable_object_is_refused_before_training(tmp_path):
    folder = devkit(tmp_path)
    all_difficult(folder, ["2012_000006"])
    assert detection(tmp_path).provenance["test"] == 2
    with pytest.raises(DataError, match=r"none of the 1 test images has an object that counts"):
        detection(tmp_path, test_subset=1)
    all_difficult(folder, ["2012_000007"])
    with pytest.raises(DataError, match=r"none of the 2 test images has an object .*data.test"):
        detection(tmp_path)
    for name in ("2012_000006", "2012_000007"):
        (folder / "Annotations" / f"{name}.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match=r"none of the 2 test images has an object .*data.test"):
        detection(tmp_path)


def test_training_images_without_any_object_are_refused(tmp_path):
    folder = devkit(tmp_path)
    path = folder / "Annotations" / f"{FIRST}.xml"
    edit_box(folder, difficult=1)
    assert len(detection(tmp_path, subset=1).train) == 1  # difficult objects are learnt
    path.write_text("<annotation/>")
    with pytest.raises(DataError, match=r"none of the 1 train images has an object: .*data.train"):
        detection(tmp_path, subset=1)


def ignore_all(folder, name):
    path = folder / "SegmentationClass" / f"{name}.png"
    Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)


@pytest.mark.parametrize("cache", [False, True])
def test_masks_without_a_pixel_that_has_a_class_are_refused_before_training(tmp_path, cache):
    folder = devkit(tmp_path)
    ignore_all(folder, "2012_000006")
    assert segmentation(tmp_path, cache=cache).provenance["test"] == 2
    with pytest.raises(DataError, match=r"none of the 1 test images has a mask with a pixel"):
        segmentation(tmp_path, cache=cache, test_subset=1)
    ignore_all(folder, FIRST)
    with pytest.raises(DataError, match=r"none of the 1 train images .*data.train"):
        segmentation(tmp_path, cache=cache, subset=1)
