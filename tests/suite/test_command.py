"""The command that users type, in a process of its own."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

from experiments.record.reader import read_runs
from helpers.commands import ROOT, command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("optimizer=nadam", "Could not find 'optimizer/nadam'"),
        ("lrd.p=1.5", "error: lrd.p must be a number in (0, 1]"),
        ("runs_dir=/proc/runs", "error: cannot write to the run folder"),
    ],
)
def test_the_command_ends_with_one_screen_of_error(argument, message):
    done = command("scale=smoke", argument)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert len((done.stdout + done.stderr).splitlines()) <= 20


@pytest.mark.slow
def test_without_data_and_network_the_command_says_what_to_do_and_leaves_nothing(tmp_path):
    dead = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = command(
        "experiment=mnist",
        f"data.root={tmp_path / 'none'}",
        f"runs_dir={tmp_path / 'runs'}",
        **dead,
    )
    assert done.returncode == 1
    assert "error: no MNIST in" in done.stderr
    assert "LRD_DATA" in done.stderr
    assert len((done.stdout + done.stderr).splitlines()) <= 20
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_an_interrupted_run_is_made_by_the_same_command(tmp_path):
    words = ["scale=smoke", f"runs_dir={tmp_path}", "epochs=100"]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "epoch 1/100" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted: the same command goes on with what is not done\n"
    (run,) = read_runs(tmp_path, scale="smoke").runs
    assert run.status == "failed"
    assert run.info["error"] == "Interrupted: interrupted by SIGINT"
    assert 1 <= run.epochs < 100
    again = command(*words)
    assert again.returncode == 0, again.stderr
    assert f"is unfinished: going on after epoch {run.epochs}" in again.stdout
    (run,) = read_runs(tmp_path, scale="smoke").runs
    assert (run.status, run.epochs) == ("done", 100)


@pytest.mark.slow
def test_a_terminal_sees_a_bar_with_loss_and_time_left(tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 160))
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.run", "scale=smoke", f"runs_dir={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    bar = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:
        while True:  # until the other end is closed, which a terminal reports as an error
            bar += terminal.read(4096)
    plain, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    for part in ("digits/adam/seed0", "100%", "8/8 [", "step/s", "loss ", "test_accuracy "):
        assert part in bar.decode()
    assert b"epoch" not in plain


@pytest.mark.slow
def test_wandb_is_loaded_only_when_used(tmp_path):
    for mode, loaded in (("disabled", False), ("offline", True)):
        words = ["scale=smoke", f"runs_dir={tmp_path / mode}", f"wandb.mode={mode}", "epochs=1"]
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "experiments.run", *words],
            cwd=ROOT,
            env={**os.environ, "WANDB_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert ("| wandb\n" in done.stderr) == loaded


@pytest.mark.slow
def test_one_bad_run_does_not_end_a_sweep(tmp_path):
    done = command(
        "-m", "lrd.enabled=true", "lrd.p=0.5,1.5,0.7", "scale=smoke", f"runs_dir={tmp_path}"
    )
    assert done.returncode == 1
    assert "2 done, 1 failed" in done.stdout
    arms = sorted(path.parts[-3] for path in tmp_path.glob("smoke/digits/*/seed0/metrics.csv"))
    assert arms == ["adam+lrd0.5", "adam+lrd0.7"]
    assert not (ROOT / "multirun.yaml").exists()


@pytest.mark.slow
def test_one_epoch_of_real_mnist(mnist_root, tmp_path):
    done = command(
        "experiment=mnist", "scale=lite", "epochs=1", "data.subset=null", "lrd.enabled=true",
        f"data.root={mnist_root}", f"runs_dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = read_runs(tmp_path, scale="lite").runs
    assert run.metrics["test_accuracy"][-1] > 95
    assert run.info["data"] == {
        "name": "MNIST", "format": "idx", "md5": "6bbc9ace898e44ae57da46a324031adb",
        "train": 60_000, "test": 10_000,
    }  # fmt: skip
