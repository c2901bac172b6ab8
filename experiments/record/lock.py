"""The lock of a run folder: who holds it may write there, as long as it is the folder's own."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import platform
import secrets
from contextlib import suppress
from pathlib import Path

from experiments import outcomes
from experiments.record.atomic import WriteError, write_aside
from experiments.record.reader import RecordError

_NAME = ".lock"
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # by another process, in words of flock


class RunningElsewhere(RecordError):
    """A run folder that another process writes to, perhaps one of the `same_command`."""

    def __init__(self, text: str, same_command: bool = False) -> None:
        super().__init__(text)
        self.same_command = same_command


class Lock:
    """Takes a run folder, makes it, and holds its lock until `close` or the process's end.

    Raises RunningElsewhere if another process holds it, RecordError if it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = f"{secrets.token_hex(4)}-"  # of files that nobody else writes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._file = os.open(folder / _NAME, flags, 0o666)
        except OSError as error:
            raise RecordError(
                f"cannot write to the run folder {folder}: {error.strerror}. Make it "
                "writable, or name another place with runs_dir=…"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                raise self._running_elsewhere() from error
            _say_that_nothing_locks(folder.parents[3], error.strerror)
        self.check()
        for path in folder.glob("tmp-*"):  # of one that was killed
            path.unlink(missing_ok=True)
        who = f"process {os.getpid()} on {platform.node()}\n{outcomes.command()}"
        with suppress(OSError):  # on a full disk others are not told who holds it
            os.ftruncate(self._file, 0)
            os.write(self._file, who.encode())

    def _running_elsewhere(self) -> RunningElsewhere:
        who, _, command = os.read(self._file, 10_000).decode(errors="replace").partition("\n")
        self.close()
        text = f"another process is at work in {self._folder} ({who}): wait for it, or stop it"
        return RunningElsewhere(text, command != "" and command == outcomes.command())

    def check(self) -> None:
        """Raise RecordError if the folder is no longer the one whose lock is held."""
        try:
            mine, present = os.fstat(self._file), os.lstat(self._folder / _NAME)
            lost = not os.path.samestat(mine, present)
        except FileNotFoundError:
            lost = True
        if lost:
            raise RecordError(
                f"{self._folder} was removed or replaced while this run went on: nothing more is "
                "written there. The same command makes what is missing"
            )

    def write_aside(self, name: str, *parts: bytes | memoryview) -> Path:
        """As atomic.write_aside, for who holds the lock before and after it."""
        self.check()
        try:
            path = write_aside(self._folder / name, *parts, mark=self._mark)
        except WriteError:
            self.check()
            raise
        try:
            self.check()
        except RecordError:
            with suppress(OSError):
                path.unlink()  # it stands in somebody else's folder
            raise
        return path

    def rename(self, aside: Path, name: str) -> None:
        """Give what was written aside its name. Raises RecordError if it was removed meanwhile."""
        try:
            os.replace(aside, self._folder / name)
        except FileNotFoundError:
            self.check()
            raise

    def close(self) -> None:
        os.close(self._file)


@functools.cache
def _say_that_nothing_locks(runs_dir: Path, reason: str) -> None:
    """Say it once for a root of run folders."""
    print(
        f"the file system of {runs_dir} cannot lock files ({reason}): see to it that no two "
        "commands make the same run at a time",
        flush=True,
    )
