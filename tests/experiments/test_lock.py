"""Who may write into a run folder: the process that holds its lock, and nobody through a link."""

import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from experiments import run as runner
from experiments.identity import run_folder
from experiments.record import lock as locks
from experiments.record.checkpoint import Checkpoints
from experiments.record.lock import RunningElsewhere
from experiments.record.reader import RecordError
from experiments.record.writer import Record
from helpers.commands import command, configure, start


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else None


def removed(folder, finished):
    shutil.rmtree(folder)


def replaced(folder, finished):
    shutil.rmtree(folder)
    shutil.copytree(finished, folder)


def refilled(folder, finished):
    """The folder stays, which a shell stands in."""
    for path in folder.iterdir():
        path.unlink()
    shutil.copytree(finished, folder, dirs_exist_ok=True)


@pytest.mark.parametrize("change", [removed, replaced, refilled])
@pytest.mark.parametrize(
    ("where", "name"),
    [(runner, "train_epoch"), (runner, "save_files"), (Checkpoints, "save"), (Record, "start"),
     (Checkpoints, "keep_model"), (locks, "write_aside")],
)  # fmt: skip
def test_who_has_lost_the_folder_touches_nothing(
    make, finished, tmp_path, monkeypatch, change, where, name
):
    """As when a process was stopped, and its run made again meanwhile."""
    folder = run_folder(configure(runs_dir=tmp_path / "runs"))
    original, left = getattr(where, name), []

    def stopped(*arguments, **more):
        if not left:
            change(folder, finished)
            if folder.exists():
                (folder / "tmp-metrics.csv").write_text("another's, who is about to rename it")
            left.append(contents(folder))
        return original(*arguments, **more)

    monkeypatch.setattr(where, name, stopped)
    with pytest.raises(RecordError, match="was removed or replaced while this run went on"):
        make("checkpoint_minutes=1e-9", where=tmp_path / "runs")
    assert contents(folder) == left[0]


def test_what_a_killed_run_was_writing_is_taken_away(make, tmp_path):
    folder = run_folder(configure(runs_dir=tmp_path / "runs"))
    folder.mkdir(parents=True)
    (folder / "tmp-0123abcd-metrics.csv").write_text("epoch,")
    assert make(where=tmp_path / "runs")[0] == "done"
    assert not [*folder.glob("tmp-*")]


HELD = [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES]
UNABLE = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]


@pytest.mark.parametrize("number", [*HELD, *UNABLE])
def test_only_a_held_lock_means_that_another_process_is_at_work(make, monkeypatch, capsys, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    if number in HELD:
        with pytest.raises(RunningElsewhere):
            make()
        return
    assert [make(f"seed={seed}")[0] for seed in (0, 1)] == ["done", "done"]
    assert capsys.readouterr().out.count("cannot lock files") == 1


def test_a_run_of_the_same_command_is_told_from_another_commands(tmp_path, monkeypatch):
    config = configure(runs_dir=tmp_path)
    monkeypatch.setenv("LRD_OUTCOMES", "/some/file")
    with Record(config):
        with pytest.raises(RunningElsewhere, match=f"process {os.getpid()} on") as error:
            Record(config).__enter__()
        assert error.value.same_command
        monkeypatch.setenv("LRD_OUTCOMES", "/another/file")
        with pytest.raises(RunningElsewhere) as error:
            Record(config).__enter__()
        assert not error.value.same_command


@pytest.mark.parametrize("name", [".lock", "tmp-metrics.csv", "checkpoint.pt", "run.json"])
@pytest.mark.parametrize("exists", [True, False])
def test_links_in_a_run_folder_are_not_followed(make, tmp_path, name, exists):
    folder = run_folder(configure(runs_dir=tmp_path / "runs"))
    folder.mkdir(parents=True)
    target = tmp_path / "thesis.tex"
    if exists:
        target.write_text("mine")
    (folder / name).symlink_to(target)
    with pytest.raises(RecordError, match=f"files or links: {name}"):
        make(where=tmp_path / "runs")
    assert [target.exists(), target.exists() and target.read_text()] == [exists, exists and "mine"]


def test_links_that_come_while_a_run_goes_on_are_not_followed(make, tmp_path, monkeypatch):
    target = tmp_path / "thesis.tex"
    target.write_text("mine")
    original = runner.train_epoch

    def linked(*arguments):
        folder = Path(run_folder(arguments[0]))
        for name in ("tmp-metrics.csv", "tmp-checkpoint.pt", "tmp-run.json"):
            (folder / name).symlink_to(target)
        monkeypatch.setattr(runner, "train_epoch", original)
        return original(*arguments)

    monkeypatch.setattr(runner, "train_epoch", linked)
    status, folder = make(where=tmp_path / "runs")
    assert (status, target.read_text()) == ("done", "mine")
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    (folder / ".lock").unlink()
    (folder / ".lock").symlink_to(target)
    with pytest.raises(RecordError, match="cannot write to the run folder"):
        Record(configure(runs_dir=tmp_path / "runs")).__enter__()
    assert target.read_text() == "mine"


@pytest.mark.slow
def test_a_sweep_counts_what_another_process_makes_and_ends_with_1(tmp_path):
    words = ["-m", "scale=smoke", "seed=0,1", f"runs_dir={tmp_path}"]
    with Record(configure(runs_dir=tmp_path)):
        done = command(*words)
    assert done.returncode == 1, done.stderr
    assert "1 busy, 1 done" in done.stdout
    assert "\nbusy: scale=smoke seed=0" in done.stdout
    assert f"(process {os.getpid()} on" in done.stdout
    again = command(*words)
    assert again.returncode == 0
    assert "1 done, 1 skipped" in again.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signal stops a process here")
def test_a_stopped_run_that_was_made_again_meanwhile_ends_with_a_word(tmp_path):
    """As when a laptop's lid was closed, and its run begun anew by another process."""
    words = ["scale=smoke", "epochs=300", f"runs_dir={tmp_path}"]
    folder = run_folder(configure("epochs=300", runs_dir=tmp_path))
    first = start(*words)
    try:
        end = time.monotonic() + 250
        while not (folder / "metrics.csv").exists():
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)
        shutil.rmtree(folder)
        again = command(*words)
        assert again.returncode == 0, again.stderr
        before = contents(folder)
        first.send_signal(signal.SIGCONT)
        said, _ = first.communicate(timeout=250)
    finally:
        first.kill()
        first.wait(timeout=10)
    assert first.returncode == 1
    assert f"{folder} was removed or replaced while this run went on" in said
    assert contents(folder) == before
