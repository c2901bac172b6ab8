"""Downloads that several processes may want at once: one makes them, the others wait."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(root: str | Path) -> Iterator[None]:
    """Hold the lock of a data folder, so that nobody reads what another process is writing.

    A folder in which nothing can be written needs none: nobody downloads into it.
    """
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        lock = open(Path(root) / ".lock", "w")  # noqa: SIM115
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
