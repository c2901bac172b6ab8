"""idx files: any of them can be read, and MNIST is read from the files that were checked."""

import hashlib
import struct

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from data import mnist as module
from data.batches import DataError
from data.mnist import mnist, read_idx


def idx(values, kind=0x08, code="u1"):
    values = np.asarray(values)
    header = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(code).tobytes()


@pytest.mark.parametrize(
    ("kind", "code", "dtype"),
    [
        (0x08, "u1", torch.uint8),
        (0x09, "i1", torch.int8),
        (0x0B, ">i2", torch.int16),
        (0x0C, ">i4", torch.int32),
        (0x0D, ">f4", torch.float32),
        (0x0E, ">f8", torch.float64),
    ],
)
def test_all_types_of_idx_files_are_read(tmp_path, kind, code, dtype):
    values = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(idx(values, kind, code))
    tensor = read_idx(tmp_path / "a")
    assert tensor.dtype == dtype
    assert tensor.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a is missing"),
        (b"", "a cannot be read as an idx file"),
        (b"\x89PNG\r\n", "it begins with 89504e47"),
        (b"\0\0\x07\x01", "it begins with 00000701"),
        (idx([1, 2])[:6], "a cannot be read as an idx file"),
        (idx([1, 2])[:-1], r"a cannot .* size 1 into shape \(2,\)"),
        (idx([1, 2]) + b"\0", r"a cannot .* size 3 into shape \(2,\)"),
        (bytes([0, 0, 8, 3]) + struct.pack(">III", *[2**32 - 1] * 3), "a cannot be read"),
        (bytes([0, 0, 8, 4]) + struct.pack(">IIII", 0, *[2**32 - 1] * 3), "a cannot be read"),
        (bytes([0, 0, 8, 200]) + struct.pack(">200I", *[1] * 200) + b"\0", "a cannot be read"),
    ],
)
def test_a_file_that_is_no_idx_file_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "a")


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """A folder with an MNIST of 5 and 3 digits, whose digests are taken for the genuine ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random, files = np.random.default_rng(0), {}
    for split, count in (("train", 5), ("t10k", 3)):
        for name, values in (
            (f"{split}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28))),
            (f"{split}-labels-idx1-ubyte", np.arange(count)),
        ):
            content = idx(values)
            (raw / name).write_bytes(content)
            files[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(module, "_MD5", files)
    return tmp_path


def test_processed_files_of_something_else_are_not_read_as_mnist(small_mnist):
    """torchvision reads them instead of those in raw."""
    expected = mnist(str(small_mnist))
    processed = small_mnist / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        other = (torch.full((7, 28, 28), 9, dtype=torch.uint8), torch.full((7,), 9))
        torch.save(other, processed / name)
    assert len(MNIST(str(small_mnist))) == 7
    data = mnist(str(small_mnist))
    assert torch.equal(data.train_images, expected.train_images)
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert data.test_labels.tolist() == [0, 1, 2]


def test_mnist_is_what_torchvision_reads_from_the_same_files(small_mnist):
    data = mnist(str(small_mnist), standardised=False)
    for images, labels, train in (
        (data.train_images, data.train_labels, True),
        (data.test_images, data.test_labels, False),
    ):
        theirs = MNIST(str(small_mnist), train=train)
        assert torch.equal(images[:, 0] * 255, theirs.data.float())
        assert torch.equal(labels, theirs.targets)
        assert labels.dtype == torch.int64


def test_the_bytes_that_are_checked_are_those_that_are_decoded(small_mnist, monkeypatch):
    """A file replaced between its check and a second read would be decoded unchecked."""
    reads = []

    def read(path):
        reads.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr("data.files.read_bytes", read)
    mnist(str(small_mnist))
    assert sorted(reads) == sorted(module._MD5)
