"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class WriteError(RuntimeError):
    """The disk or the folder did not take a file; the message says which and what to do."""


def write_aside(path: Path, *parts: bytes | memoryview, mark: str = "") -> Path:
    """Write to disk as tmp-<mark><name> in the same folder, to be renamed; returns that path.

    Raises WriteError, and leaves nothing of what it began.
    """
    aside = path.with_name(f"tmp-{mark}{path.name}")
    try:
        aside.unlink(missing_ok=True)  # what was cut short, or a link
        with open(aside, "xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise WriteError(
            f"cannot write {path}: {error.strerror}. What was written before is whole: make room "
            "there, or make it writable, and repeat the command"
        ) from error
    return aside


def write(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file that is never seen half-written; its folder may be new. Raises WriteError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    os.replace(write_aside(path, *parts, mark=f"{os.getpid()}-"), path)
