"""CIFAR: parquet files and archives, and what is wrong with them."""

import hashlib
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from conftest import encoded
from data.batches import DataError
from data.cifar import cifar10, cifar100
from tests.data.test_augment import train_images


def test_parquet_files_give_pixels_labels_and_provenance(cifar_files):
    data = cifar10(cifar_files.root, subset=3)
    assert data.train_images.shape == (3, 3, 32, 32)
    assert data.train_images[2, :, 5, 5].tolist() == [40, 0, 0]
    assert data.train_labels.tolist() == [3, 0, 9]
    digest = data.provenance.pop("sha256")
    assert len(digest) == 64
    assert data.provenance == {
        "name": "CIFAR-10", "format": "parquet of PNG images", "train": 3, "test": 4
    }  # fmt: skip


def test_a_jpeg_copy_is_called_one(cifar_files):
    cifar_files(images=[encoded("JPEG")] * 4)
    assert cifar10(cifar_files.root).provenance["name"] == "CIFAR-10 (JPEG copy)"


def test_cifar100_reads_its_fine_labels(cifar_files):
    for split in ("train", "test"):
        cifar_files(split, labels=(99, 4), column="fine_label", name="cifar100")
    assert cifar100(cifar_files.root).train_labels.tolist() == [99, 4]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (dict(column="class"), "the columns img .* and label .integers. .*label.* does not exist"),
        (dict(labels=("cat", "dog")), "label .integers. .*string"),
        (dict(labels=(3, 10)), "a label below 10 .* bytes with label 10"),
        (dict(labels=(3, -1)), "with label -1"),
        (dict(images=[encoded()[:60]] * 4), "row 0 of .*cannot be read as an image"),
        (dict(images=[encoded(), b"", encoded(), encoded()]), "row 1 of .*0 bytes"),
        (dict(images=[encoded(size=(16, 32))] * 4), r"32 × 32 pixels .*of shape \(32, 16, 3\)"),
    ],
)
def test_a_parquet_file_that_is_not_cifar_is_named(cifar_files, damage, message):
    path = cifar_files(**damage)
    with pytest.raises(DataError, match=message) as error:
        cifar10(cifar_files.root)
    assert path.parent.name in str(error.value)


def test_a_truncated_parquet_file_is_named(cifar_files):
    path = cifar_files()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-00000-of-00001.parquet cannot be read as parquet"):
        cifar10(cifar_files.root)


@pytest.mark.parametrize(
    "layout",
    [
        "{split}-00000-of-00001.parquet",
        "plain_text/{split}-00000-of-00001.parquet",
        "plain_text/{split}/0000.parquet",
        "{split}/0000.parquet",
        "data/{split}-00000-of-00001-a567fa.parquet",
    ],
)
def test_parquet_files_are_read_where_the_hub_has_them(cifar_files, tmp_path, layout):
    expected = cifar10(cifar_files.root)
    for split in ("train", "test"):
        path = cifar_files(split)
        place = path.parent / layout.format(split=split)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    data = cifar10(cifar_files.root)
    assert torch.equal(data.train_images, expected.train_images)
    assert torch.equal(data.test_labels, expected.test_labels)
    assert data.provenance == expected.provenance


def test_several_files_are_one_split_in_their_order(cifar_files):
    whole = cifar_files(labels=(3, 0, 9, 1))
    whole.unlink()
    folder = whole.parent / "plain_text" / "train"
    folder.mkdir(parents=True)
    for number, labels in enumerate([(3, 0), (9, 1)]):
        cifar_files(labels=labels).rename(folder / f"000{number}.parquet")
    cifar_files("test").rename(folder.parent / "test-00000-of-00001.parquet")
    assert cifar10(cifar_files.root).train_labels.tolist() == [3, 0, 9, 1]
    assert cifar10(cifar_files.root, subset=3).train_labels.tolist() == [3, 0, 9]
    (folder / "0000.parquet").unlink()
    with pytest.raises(DataError, match=r"0001.parquet is file 0 of the 1 in its folder"):
        cifar10(cifar_files.root)


def test_two_folders_with_parquet_files_are_both_named(cifar_files):
    path = cifar_files()
    (path.parent / "plain_text" / "train").mkdir(parents=True)
    shutil.copy(path, path.parent / "plain_text" / "train" / "0000.parquet")
    with pytest.raises(
        DataError, match=r"train-\*.parquet .*are in .*cifar10 and .*plain_text.* one"
    ):
        cifar10(cifar_files.root)


def test_a_row_without_an_image_or_label_is_named(cifar_files):
    path = cifar_files()
    image = {"bytes": encoded(), "path": None}
    for row, label, message in (
        (None, 1, "row 1 of .*0 bytes"),
        ({"bytes": None, "path": "a.png"}, 1, "row 1 of .*0 bytes"),
        (image, None, "row 1 of .*bytes with label None"),
    ):
        pq.write_table(pa.table({"img": [image, row], "label": [1, label]}), path)
        with pytest.raises(DataError, match=message) as error:
            cifar10(cifar_files.root)
        assert path.name in str(error.value)


def test_a_table_without_rows_is_named(cifar_files):
    path = cifar_files()
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(DataError, match=rf"{path} has no rows, expected images and label"):
        cifar10(cifar_files.root)


def test_more_rows_than_cifar_has_are_another_data_set(cifar_files, monkeypatch):
    monkeypatch.setattr("data.parquet._MAX_ROWS", 3)
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet unpacks to 4 rows"):
        cifar10(cifar_files.root)


def test_the_bytes_whose_digest_is_recorded_are_those_that_are_decoded(cifar_files, monkeypatch):
    """Each file is read once: it cannot be replaced between two reads."""
    reads, digest = [], hashlib.sha256()

    def read(path):
        reads.append(path.name)
        digest.update(path.read_bytes())
        return path.read_bytes()

    monkeypatch.setattr("data.parquet.read_bytes", read)
    monkeypatch.setattr("data.parquet.pq.read_table", None)
    assert cifar10(cifar_files.root).provenance["sha256"] == digest.hexdigest()
    assert sorted(reads) == ["test-00000-of-00001.parquet", "train-00000-of-00001.parquet"]


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Folders of archives of random pixels, whose digests are taken for the genuine ones."""
    random = np.random.default_rng(0)

    def write(kind, label, classes):
        lists = {}
        for name in ("train_list", "test_list"):
            lists[name] = []
            for file, _ in getattr(kind, name):
                content = pickle.dumps(
                    {
                        "data": random.integers(0, 256, (4, 3072), np.uint8),
                        label: random.integers(0, classes, 4).tolist(),
                    }
                )
                path = tmp_path / kind.base_folder / file
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
                lists[name].append([file, hashlib.md5(content).hexdigest()])
            monkeypatch.setattr(kind, name, lists[name])
        names = pickle.dumps({kind.meta["key"]: [str(number) for number in range(classes)]})
        (tmp_path / kind.base_folder / kind.meta["filename"]).write_bytes(names)
        meta = {**kind.meta, "md5": hashlib.md5(names).hexdigest()}
        monkeypatch.setattr(kind, "meta", meta)

    write(CIFAR100, "fine_labels", 100)
    write(CIFAR10, "labels", 10)
    return tmp_path


@pytest.mark.parametrize(("read", "theirs"), [(cifar10, CIFAR10), (cifar100, CIFAR100)])
def test_an_archive_is_what_torchvision_reads(archives, read, theirs):
    data = read(str(archives))
    assert data.provenance["format"] == "torchvision archive"
    for images, labels, train in (
        (data.train_images, data.train_labels, True),
        (data.test_images, data.test_labels, False),
    ):
        reference = theirs(str(archives), train=train)
        assert torch.equal(images, torch.from_numpy(reference.data).permute(0, 3, 1, 2))
        assert images.is_contiguous()
        assert labels.tolist() == reference.targets


def test_an_archives_file_that_is_not_the_genuine_one_is_named(archives):
    path = archives / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"data_batch_3 is not CIFAR-10's .*Delete it"):
        cifar10(str(archives))


def test_a_missing_part_of_a_split_is_named(cifar_files):
    path = cifar_files()
    path.rename(path.with_name("train-00001-of-00002.parquet"))
    with pytest.raises(
        DataError, match=r"train-00001-of-00002.parquet is file 0 of the 1 in its folder"
    ):
        cifar10(cifar_files.root)


def test_a_missing_split_is_named(cifar_files):
    cifar_files().unlink()
    with pytest.raises(
        DataError, match=r"train-\*.parquet or train/\*.parquet are in no folder of .*cifar10"
    ):
        cifar10(cifar_files.root)


@pytest.mark.usefixtures("no_network")
def test_nothing_there_and_no_network_says_what_was_expected(tmp_path):
    with pytest.raises(DataError) as error:
        cifar10(str(tmp_path))
    for part in (str(tmp_path), "cifar-10-batches-py", "train-*.parquet", "LRD_DATA", "no network"):
        assert part in str(error.value)


def test_an_archive_that_is_there_comes_first_and_its_checksums_are_kept(
    cifar_files, tmp_path, monkeypatch
):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not a pickle of anyone's")
    monkeypatch.setattr(
        "torchvision.datasets.cifar.download_and_extract_archive", lambda *_, **__: None
    )
    with pytest.raises(DataError, match="not found or corrupted"):
        cifar10(cifar_files.root)


def test_real_cifar(cifar_root):
    for read, classes, mean, std in (
        (cifar10, 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        (cifar100, 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ):
        data = read(cifar_root, subset=2000, test_subset=500)
        assert data.train_images.shape == (2000, 3, 32, 32)
        assert len(data.train_labels.unique()) == classes
        pixels = data.train_images.float() / 255
        assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.01)
        assert pixels.std((0, 2, 3)).tolist() == pytest.approx(std, abs=0.01)
        train, test = data.loaders(500, torch.device("cpu"))
        for images in (next(iter(test))[0], train_images(train, 1)):
            assert images.dtype == torch.float32
            assert images.mean((0, 2, 3)).abs().max() < 0.6
            assert (images.std((0, 2, 3)) - 1).abs().max() < 0.3
