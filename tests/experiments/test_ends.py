"""How runs end besides well: signals late or to whole groups, disks that are full at either end."""

import errno
import os
import signal

import pytest
import torch

from experiments import run as runner
from experiments.record import lock as locks
from experiments.record.atomic import WriteError
from experiments.record.reader import read_runs
from experiments.signals import Interrupted
from helpers.commands import python, start


def test_a_signal_after_the_last_step_ends_a_sweep_and_the_run_is_done(make, monkeypatch):
    monkeypatch.setattr(runner, "save_files", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        make()
    assert make()[0] == "skipped"


def test_a_done_run_whose_checkpoint_stays_large_is_done(make, monkeypatch, capsys):
    def full(*_):
        raise WriteError("cannot write checkpoint.pt: No space left on device")

    monkeypatch.setattr(runner.Checkpoints, "keep_model", full)
    assert make()[0] == "done"
    assert "the checkpoint is not made smaller: cannot write" in capsys.readouterr().out
    assert make()[0] == "skipped"


@pytest.mark.fault
def test_a_signal_to_a_group_ends_a_sweep_whose_loaders_have_workers(tmp_path):
    """As process managers and Slurm send it: to the run and its workers at once."""
    words = ["-m", "experiment=pspnet", "scale=smoke", "data.workers=2", "seed=0,1"]
    words += [f"data.root={tmp_path}", f"runs_dir={tmp_path / 'runs'}"]
    process = start(*words, start_new_session=True)
    said = next(line for line in process.stdout if "epoch 1/" in line)
    os.killpg(process.pid, signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said + rest
    assert "1 interrupted, 1 not begun" in rest
    (run,) = read_runs(tmp_path / "runs", scale="smoke").runs
    assert (run.seed, run.status) == (0, "failed")  # to go on from its last checkpoint


FULL = """
import os, runpy, signal
from experiments.record.atomic import WriteError
from experiments.record.checkpoint import Checkpoints

def save(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    raise WriteError("cannot write checkpoint.pt: No space left on device")

Checkpoints.save, Checkpoints.due = save, lambda *_: True
runpy.run_module("experiments.run", run_name="__main__")
"""


@pytest.mark.fault
def test_an_interrupted_run_says_why_its_last_checkpoint_was_not_written(tmp_path):
    done = python("-c", FULL, "scale=smoke", f"runs_dir={tmp_path}")
    assert done.returncode == 128 + signal.SIGTERM
    said = done.stdout + done.stderr
    assert "error: cannot write checkpoint.pt: No space left on device" in said
    assert "interrupted: the same command goes on" in said


SHARED = """
import os, signal, sys
import torch.distributed as dist
from experiments.processes import LostProcess, SharedInterruption
from experiments.signals import Interrupted

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
ends = {"worker": RuntimeError("DataLoader worker exited unexpectedly"), "lost": LostProcess()}
for place, end in (0, ""), (1, ""), (2, ""), (1, "worker"), (1, "lost"), (3, "lost"):
    try:
        with SharedInterruption() as heard:
            for now in range(3):
                if now == place:
                    os.kill(os.getpid(), signal.SIGTERM)
                if end and now == 1:
                    raise ends[end]
                if now < 2:
                    heard.agree()
                    heard.check()
    except (Interrupted, LostProcess) as error:
        if place == 3:  # only after the loss
            os.kill(os.getpid(), signal.SIGTERM)
        print("ended by", type(error).__name__)
"""


@pytest.mark.distributed
def test_several_processes_hear_a_late_signal_and_one_that_broke_a_loader_but_not_a_loss(tmp_path):
    done = python("-c", SHARED, str(tmp_path / "store"))
    ends = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("ended by")]
    assert (ends, done.returncode) == (["Interrupted"] * 4 + ["LostProcess"] * 2, 0)


def test_a_disk_that_is_full_before_a_run_begins_is_told_with_what_to_do(make, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.os, "write", full)
    monkeypatch.setattr("experiments.record.atomic.os.fsync", full)
    with pytest.raises(WriteError, match=r"No space left on device.*: make room"):
        make()


def test_what_nfs_keeps_of_a_replaced_file_is_no_strangers(make, finished):
    (finished / ".nfs000000001").touch()
    assert make()[0] == "skipped"


@pytest.mark.slow
def test_every_net_of_a_sweep_is_compiled_however_many_there_are(make):
    torch.compiler.reset()
    for hidden in range(16, 72, 8):
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        make("compile_model=true", f"model.hidden={hidden}", "epochs=1")
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before
