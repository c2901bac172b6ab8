"""Files as people have them: a root folder, bytes, text and images, each with a bound on memory."""

from __future__ import annotations

import codecs
import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.batches import DataError

MAX_BYTES = 1 << 30  # of a file that is read whole; CIFAR's largest has 0.2 GB
MAX_PIXELS = 64_000_000  # of an image, 0.2 GB when decoded; cameras' largest have some 60 million
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # others start programs, or are never data
# What decoders raise for damaged files, by what is broken
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def data_root(root: str | Path) -> Path:
    """The folder that `root` names, with ~ as the home folder. DataError if it cannot be one."""
    remedy = "name the folder that holds the data with data.root=… or the variable LRD_DATA"
    if not isinstance(root, str | Path) or not str(root).strip() or "\0" in str(root):
        raise DataError(f"data.root is {root!r}, expected the name of a folder: {remedy}")
    try:
        folder = Path(root).expanduser()
        other = folder.exists() and not folder.is_dir()
    except (RuntimeError, OSError) as error:  # no such home, a name that is too long, …
        raise DataError(f"data.root is {str(root)!r} ({error}): {remedy}") from error
    if other:
        raise DataError(f"data.root is {str(root)!r}, which is no folder: {remedy}")
    return folder


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """A file's content. DataError if it is missing, unreadable or has more than `limit` bytes."""
    try:
        if not path.exists():
            raise DataError(f"{path} is missing: restore it")
        if not path.is_file():
            raise DataError(f"{path} is a folder or a device, expected a file: replace it")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): make it readable") from error
    if len(content) > limit:
        raise DataError(f"{path} has more than {limit:,} bytes: it is another file. Replace it")
    return content


class CheckedFile(NamedTuple):
    """A file, and the SHA-256 digest of the content that was checked."""

    path: Path
    sha256: bytes

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """The content that was checked. DataError if the file has another one since."""
        content = read_bytes(self.path, limit)
        if hashlib.sha256(content).digest() != self.sha256:
            raise DataError(f"{self.path} has changed since it was checked: begin the run again")
        return content


def decode_text(content: bytes, path: Path, encoding: str = "utf-8") -> str:
    """Text in the encoding of its byte-order mark, or else in `encoding`. DataError if it is not.

    UTF-8 and UTF-16 have such marks.
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            encoding = name
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise DataError(
            f"{path} names the encoding {encoding!r}, which is unknown: save it as UTF-8"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not {encoding} text ({error}): save it as UTF-8") from error


def image_size(content: bytes, place: str | Path) -> tuple[int, int]:
    """Width and height from an image's header. DataError if it is no image, or too large."""
    try:
        return _open(content, place).size
    except BROKEN as error:
        raise _unreadable(place, error) from error


def decode_image(
    content: bytes, place: str | Path, mode: str | None = None
) -> tuple[np.ndarray, str]:
    """Pixels (H, W) or (H, W, C) in a mode of Pillow's, the image's own if None, and that mode.

    DataError, which names the `place`, if it is damaged, no image, or has over MAX_PIXELS pixels.
    """
    try:
        image = _open(content, place)
        converted = image if mode is None else image.convert(mode)
        return np.array(converted), converted.mode
    except BROKEN as error:
        raise _unreadable(place, error) from error


def _open(content: bytes, place: str | Path) -> Image.Image:
    """An image whose pixels are not decoded yet."""
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{place} has {width} × {height} pixels, expected at most {MAX_PIXELS:,}: scale it "
            "down, or replace it"
        )
    return image


def _unreadable(place: str | Path, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{place} cannot be read as an image ({reason}): restore it")
