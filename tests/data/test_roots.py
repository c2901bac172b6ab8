"""Every reader below every kind of root folder: links, read-only, ~, spaces, other letters."""

import builtins
import errno
import os
from pathlib import Path

import pytest
import torch

from data.batches import DataError
from data.cifar import cifar10, cifar100
from data.devkit import drawn_detection, drawn_segmentation
from data.mnist import mnist
from helpers.drawn import detection, devkit, segmentation
from tests.data.test_cifar import archives
from tests.data.test_idx import small_mnist

__all__ = ["archives", "small_mnist"]  # fixtures

DRAWN = {"images": 4, "test_images": 2, "complete": False}


@pytest.fixture
def data(archives, small_mnist, cifar_files, tmp_path):
    """One folder with all data sets in it."""
    cifar_files("train", column="fine_label", name="cifar100")
    cifar_files("test", column="fine_label", name="cifar100")
    for folder in ("cifar-10-batches-py", "cifar10"):  # CIFAR-10 from parquet, CIFAR-100 not
        (tmp_path / folder).rename(tmp_path / f"all-{folder}")
    devkit(tmp_path)
    drawn_detection(str(tmp_path), **DRAWN)
    (tmp_path / "all-cifar10").rename(tmp_path / "cifar10")
    return tmp_path


READERS = {
    "mnist": lambda root: mnist(root).train_images,
    "cifar parquet": lambda root: cifar10(root).train_images,
    "cifar archive": lambda root: cifar100(root).train_images,
    "segmentation": lambda root: segmentation(root).train[0][1],
    "detection": lambda root: detection(root).train[0][1]["boxes"],
    "drawn segmentation": lambda root: drawn_segmentation(root, **DRAWN).train[0][1],
    "drawn detection": lambda root: drawn_detection(root, **DRAWN).train[0][1]["boxes"],
}


def linked(data, monkeypatch):
    (data.parent / "link").symlink_to(data)
    return data.parent / "link"


def linked_inside(data, monkeypatch):
    """A folder whose entries are links, as in a cache of downloads."""
    root = data.parent / "links"
    root.mkdir()
    for path in data.iterdir():
        (root / path.name).symlink_to(path)
    return root


def renamed(name):
    def rename(data, monkeypatch):
        return data.rename(data.parent / name)

    return rename


def at_home(data, monkeypatch):
    monkeypatch.setenv("HOME", str(data.parent))
    return Path("~") / data.name


def from_here(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    return Path(data.name)


def read_only(data, monkeypatch):
    """As a file system that takes no files, whoever asks: root may write where others may not."""
    true_open = builtins.open

    def opened(file, mode="r", *more, **keys):
        if set(mode) & set("wax+") and isinstance(file, str | os.PathLike):
            raise OSError(errno.EROFS, "Read-only file system", str(file))
        return true_open(file, mode, *more, **keys)

    def make(path, *_, **__):
        if not os.path.exists(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        raise FileExistsError(path)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(os, "mkdir", make)
    return data


ROOTS = {
    "link": linked,
    "links inside": linked_inside,
    "spaces": renamed("my data  (copy)"),
    "letters": renamed("Größe-図-🙂"),
    "quotes and percent": renamed('it\'s 100% "here" [a]*?'),
    "home": at_home,
    "relative": from_here,
    "read-only": read_only,
}


@pytest.mark.parametrize("kind", ROOTS)
def test_every_reader_reads_below_every_kind_of_root(data, monkeypatch, kind):
    expected = {name: read(str(data)) for name, read in READERS.items()}
    root = ROOTS[kind](data, monkeypatch)
    for name, read in READERS.items():
        assert torch.equal(read(str(root)), expected[name]), name
    assert not Path("~").exists()


@pytest.mark.parametrize("root", ["", " "])
@pytest.mark.parametrize("name", READERS)
def test_an_empty_root_is_refused_by_every_reader(name, root):
    with pytest.raises(DataError, match=r"data.root is .* variable LRD_DATA"):
        READERS[name](root)


@pytest.mark.parametrize("name", READERS)
def test_a_root_that_is_a_file_is_refused_by_every_reader(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data.root is .*it is a file"):
        READERS[name](str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["drawn segmentation", "drawn detection"])
def test_shapes_that_cannot_be_written_say_where(tmp_path, monkeypatch, name):
    root = read_only(tmp_path, monkeypatch)
    with pytest.raises(DataError, match=r"drawn shapes cannot be written to .*data.root"):
        READERS[name](str(root))
