"""Several processes that want the same download."""

import errno
import multiprocessing
import time
from pathlib import Path

import pytest

from data.download import one_at_a_time


def fetch(root: str) -> None:
    """As loaders do: look, and write slowly what is not there."""
    with one_at_a_time(root):
        path = Path(root) / "file"
        if not path.exists():
            path.write_text("half")
            time.sleep(0.3)
            path.write_text("whole")
        assert path.read_text() == "whole"


def test_one_process_downloads_and_the_others_wait(tmp_path):
    root = str(tmp_path / "new")
    workers = [multiprocessing.Process(target=fetch, args=(root,)) for _ in range(3)]
    for worker in workers:
        worker.start()
        time.sleep(0.1)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_a_folder_that_takes_no_files_is_read_without_a_lock():
    with one_at_a_time("/proc/none"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_lock_is_read_without_a_lock(tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, "cannot lock")

    monkeypatch.setattr("fcntl.flock", fail)
    with one_at_a_time(tmp_path):
        pass
    assert (tmp_path / ".lock").exists()


def test_a_lock_that_fails_for_another_reason_is_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OSError, match="broken disk"), one_at_a_time(tmp_path):
        pass
