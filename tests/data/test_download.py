"""Several processes that want the same download."""

import errno
import multiprocessing
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from data.files import one_at_a_time


def fetch(root: Path) -> None:
    """As loaders do: look, and write slowly what is not there."""
    with one_at_a_time(root):
        path = root / "file"
        if not path.exists():
            path.write_text("half")
            time.sleep(0.3)
            path.write_text("whole")
        assert path.read_text() == "whole"


def test_one_process_downloads_and_the_others_wait(tmp_path):
    workers = [multiprocessing.Process(target=fetch, args=(tmp_path / "new",)) for _ in range(3)]
    for worker in workers:
        worker.start()
        time.sleep(0.1)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_a_folder_that_takes_no_files_is_read_without_a_lock():
    with one_at_a_time(Path("/proc/none")):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_that_cannot_lock_is_read_without_a_lock(tmp_path, monkeypatch, number):
    """And any other failure is an error."""

    def fail(*_):
        raise OSError(number, "no lock")

    monkeypatch.setattr("fcntl.flock", fail)
    broken = number == errno.EIO
    with pytest.raises(OSError, match="no lock") if broken else nullcontext():  # noqa: SIM117
        with one_at_a_time(tmp_path):
            pass
    assert (tmp_path / ".lock").exists()
