"""Downloads that several processes may want at once: one makes them, the others wait."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CANNOT_LOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def one_at_a_time(root: str | Path) -> Iterator[None]:
    """Hold the lock of a data folder, so that nobody reads what another process is writing.

    A folder in which nothing can be written needs none: nobody downloads into it. Some network
    file systems cannot lock; what is read is checked there as everywhere.
    """
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        lock = open(Path(root) / ".lock", "a")  # noqa: SIM115
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
