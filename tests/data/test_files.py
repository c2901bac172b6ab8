"""Files: roots, bytes, text and images that are not what they should be, and bounds on memory."""

import hashlib
import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from data.batches import DataError
from data.cifar import cifar10
from data.files import MAX_PIXELS, checked, data_root, decode_image, image_size, read_bytes
from data.mnist import read_idx
from data.parquet import read_split
from data.voc_files import decode_mask, decode_objects


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root("~/data") == tmp_path / "data"
    assert data_root("a~b") == Path("a~b")


@pytest.mark.parametrize("root", ["", "  ", None, 3, "a\0b", "~nobody-of-this-name/x", "x" * 5000])
def test_a_root_that_names_no_folder_says_what_to_set(root):
    with pytest.raises(DataError, match=r"data.root is .*data.root=… or the variable LRD_DATA"):
        data_root(root)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="it is a file"):
        data_root(str(tmp_path / "file"))


def test_bytes_are_a_files_and_not_more_than_memory_is_meant_for(tmp_path, monkeypatch):
    path = tmp_path / "file"
    with pytest.raises(DataError, match="file is missing"):
        read_bytes(path)
    path.write_bytes(b"12345")
    assert read_bytes(path) == b"12345"
    monkeypatch.setattr("data.files.MAX_BYTES", 4)
    with pytest.raises(DataError, match="file has more than 4 bytes"):
        read_bytes(path)
    with pytest.raises(DataError, match="is a folder or a device"):
        read_bytes(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(DataError, match="pipe is a folder or a device"):
        read_bytes(tmp_path / "pipe")
    path.unlink()
    path.symlink_to("file")  # a link to itself
    with pytest.raises(DataError, match="file is missing"):
        read_bytes(path)


def test_a_checked_file_is_read_as_it_was_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    file, content = checked(path)
    assert content == file.read() == b"one"
    path.write_bytes(b"two")
    with pytest.raises(DataError, match="file has changed since it was checked"):
        file.read()


def png_of(width, height):
    """A PNG whose header claims a size; its content would be all zeros."""

    def chunk(name, content):
        sum_ = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 1000)), chunk(b"IEND", b"")]
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "size", [(4097, 4096), (10_000, 10_000), (20_000, 20_000), (2**31 - 1,) * 2]
)
@pytest.mark.parametrize("read", [decode_image, image_size])
def test_images_of_more_pixels_than_memory_is_meant_for_are_named(size, read):
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(DataError, match=r"x\.png (has .* pixels, expected at most|cannot be read)"):
        read(png_of(*size), "x.png")


def test_files_that_start_a_program_are_no_images():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
    for read in (decode_image, image_size):
        with pytest.raises(DataError, match="cannot be read as an image"):
            read(postscript, "x.jpg")


def encoded(kind, mode):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 21, (24, 32), np.uint8))
    content = io.BytesIO()
    image.convert(mode).save(content, kind)
    return content.getvalue()


def mat():
    content = io.BytesIO()
    savemat(content, {"GTcls": {"Segmentation": np.ones((24, 32), np.uint8)}}, do_compression=True)
    return content.getvalue()


def parquet():
    content, image = io.BytesIO(), Image.new("RGB", (32, 32))
    image.save(content, "PNG")
    rows = {"img": [{"bytes": content.getvalue(), "path": None}] * 3, "label": [0, 5, 9]}
    content = io.BytesIO()
    pq.write_table(pa.table(rows), content)
    return content.getvalue()


ANNOTATION = (
    b'<?xml version="1.0" encoding="utf-8"?><annotation><object><name>dog</name><bndbox>'
    b"<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
)
READERS = {
    "jpg": (encoded("JPEG", "RGB"), lambda content, path: decode_image(content, path, "RGB")),
    "png": (encoded("PNG", "P"), decode_mask),
    "webp": (encoded("WEBP", "RGB"), decode_image),
    "mat": (mat(), decode_mask),
    "xml": (ANNOTATION, lambda content, path: decode_objects(content, path, (32, 24))),
    "idx": (b"\0\0\x08\x03" + struct.pack(">III", 2, 3, 4) + bytes(24), lambda _, p: read_idx(p)),
    "parquet": (parquet(), lambda _, p: read_split([p], "label", 10, None, hashlib.sha256())),
}


@pytest.mark.parametrize("kind", READERS)
def test_files_damaged_at_random_are_read_or_named(tmp_path, kind):
    """400 files with bytes changed, removed or repeated: no other error than DataError."""
    whole, read = READERS[kind]
    path, dice = tmp_path / f"x.{kind}", random.Random(kind)
    refused = whole_enough = 0
    for case in range(400):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        if case % 4 == 0:
            start = dice.randrange(len(content))
            content[start : start + dice.randint(1, 40)] = b""
        elif case % 4 == 1:
            content = content[: dice.randrange(len(content))]
        path.write_bytes(content)
        try:
            read(bytes(content), path)
        except DataError as refusal:
            refused += path.name in str(refusal)
        else:
            whole_enough += 1
    assert refused + whole_enough == 400
    assert refused > 100


@pytest.mark.filterwarnings("ignore")
def test_a_bomb_of_entities_is_no_annotation(tmp_path):
    levels = "".join(f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">' for number in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "{"x" * 100}">{levels}]><annotation>&e11;</annotation>'
    with pytest.raises(DataError, match=r"x.xml cannot be read as XML"):
        decode_objects(bomb.encode(), tmp_path / "x.xml", (32, 24))


def test_a_parquet_file_that_unpacks_to_more_than_memory_is_meant_for_is_named(
    cifar_files, monkeypatch
):
    path = cifar_files()
    table = pq.read_table(path)
    rows = [{"bytes": bytes(3_000_000), "path": None}] * 4
    pq.write_table(pa.table({"img": rows, "label": table["label"]}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("data.parquet.MAX_BYTES", 2_000_000)
    with pytest.raises(DataError, match=f"{path.name} unpacks to 4 rows and .* bytes"):
        cifar10(cifar_files.root)
