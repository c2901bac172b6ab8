"""Files as people have them: downloads, a root folder, bytes and images, with bounds on memory."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data.batches import DataError

MAX_BYTES = 1 << 30  # of a file, which is read whole; CIFAR's largest has 0.2 GB
MAX_PIXELS = 1 << 24  # of an image; SSD's training puts it on a canvas of 16 times as many
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # others start programs, or are never data
_BROKEN = (  # what decoders raise for damaged files
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    OverflowError, NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
_CANNOT_LOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def data_root(root: str | Path) -> Path:
    """The folder that `root` names, with ~ as the home folder. DataError if it cannot be one."""
    try:
        if not isinstance(root, str | Path) or not str(root).strip() or "\0" in str(root):
            raise ValueError("it is no name")
        folder = Path(root).expanduser()
        if folder.exists() and not folder.is_dir():
            raise ValueError("it is a file")
    except (RuntimeError, OSError, ValueError) as error:  # no such home, a name too long, …
        raise DataError(
            f"data.root is {root!r}, expected the name of a folder ({error}): name the folder that "
            "holds the data with data.root=… or the variable LRD_DATA"
        ) from error
    return folder


def download_missing(
    root: Path, paths: Iterable[Path], what: str, download: Callable[[], Any]
) -> None:
    """Calls `download` if one of the `paths` is missing. DataError, about `what`, if that fails."""
    with one_at_a_time(root):
        if all(path.exists() for path in paths):
            return
        try:
            download()
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise DataError(
                f"no {what}, and downloading it failed: {_reason(error).rstrip(':')}. Put it "
                "there, or name the folder that holds it with data.root=… or the variable LRD_DATA"
            ) from error


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold the lock of a data folder, so that nobody reads what another process is writing.

    A folder in which nothing can be written needs none: nobody downloads into it. Some network
    file systems cannot lock; what is read is checked there as everywhere.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / ".lock", "a")  # noqa: SIM115
    except OSError:
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                raise
        yield


def read_bytes(path: Path) -> bytes:
    """A file's content. DataError if it is missing, unreadable or larger than MAX_BYTES."""
    try:
        if not path.is_file():
            state = "is a folder or a device" if path.exists() else "is missing"
            raise DataError(f"{path} {state}, expected a file: restore it")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): make it readable") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES:,} bytes: it is another file. Replace it")
    return content


def genuine_bytes(path: Path, name: str, md5: str) -> bytes:
    """The content of a file of the data set `name`. DataError if its digest is another one."""
    content = read_bytes(path)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{path} is not {name}'s (md5 {md5} expected): it is truncated, damaged or another "
            "file. Delete it and run again to download it"
        )
    return content


class CheckedFile(NamedTuple):
    """A file, and the SHA-256 digest of the content that was checked."""

    path: Path
    sha256: bytes

    def read(self) -> bytes:
        """The content that was checked. DataError if the file has another one since."""
        content = read_bytes(self.path)
        if hashlib.sha256(content).digest() != self.sha256:
            raise DataError(f"{self.path} has changed since it was checked: begin the run again")
        return content


def checked(path: Path) -> tuple[CheckedFile, bytes]:
    """A file as it is now, and its content. DataError as `read_bytes` raises it."""
    content = read_bytes(path)
    return CheckedFile(path, hashlib.sha256(content).digest()), content


@contextmanager
def decoding(
    place: str | Path,
    kind: str,
    remedy: str = "restore it",
    also: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turns what decoders raise for a damaged file into a DataError that names the `place`.

    `also`: a decoder's own errors.
    """
    try:
        yield
    except (*_BROKEN, *also) as error:
        reason = _reason(error)
        raise DataError(f"{place} cannot be read as {kind} ({reason}): {remedy}") from error


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def decode_image(content: bytes, place: str | Path, mode: str | None = None) -> np.ndarray:
    """Pixels (H, W) or (H, W, C) in a mode of Pillow's, or the image's own if it is None.

    DataError, which names the `place`, if damaged, no image, or of more than MAX_PIXELS pixels.
    """
    with decoding(place, "an image"):
        image = _open(content, place)
        return np.array(image if mode is None else image.convert(mode))


def image_size(content: bytes, place: str | Path) -> tuple[int, int]:
    """Width and height from an image's header. DataError as `decode_image` raises it."""
    with decoding(place, "an image"):
        return _open(content, place).size


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
