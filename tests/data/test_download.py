"""Several processes that want the same download."""

import multiprocessing
import time
from pathlib import Path

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
