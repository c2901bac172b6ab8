"""Real processes that are killed, starved and fed with damaged files, and what comes of it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.commands import ROOT, command, start

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


def result(runs):
    (folder,) = (path.parent for path in Path(runs).rglob("run.json"))
    info = json.loads((folder / "run.json").read_text())
    weights = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    content = b"".join(value.numpy().tobytes() for value in weights.values())
    return info["status"], (folder / "metrics.csv").read_bytes(), content


# A checkpoint after every step, so that a kill meets as many writes as steps
LONG = ["scale=smoke", "lrd.enabled=true", "epochs=150", "checkpoint_minutes=1e-9"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    runs = tmp_path_factory.mktemp("undisturbed")
    assert command(*LONG, f"runs_dir={runs}").returncode == 0
    return result(runs)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGKILL, 6), (signal.SIGTERM, 3)])
def test_a_run_killed_again_and_again_ends_as_if_undisturbed(tmp_path, undisturbed, number, times):
    dice = random.Random(0)
    kills, ended, seen = 0, False, set()
    while not ended:
        process = start(*LONG, f"runs_dir={tmp_path}", cwd=tmp_path)
        first = process.stdout.readline()  # it has begun to train, or has nothing left to do
        if kills < times and "epoch 150/150" not in first:
            time.sleep(dice.random() * 0.25)
            process.send_signal(number)
        rest, _ = process.communicate(timeout=120)
        ended = process.returncode == 0
        if not ended:
            kills += 1
            assert process.returncode in (-number, 128 + number), rest
            leftovers = {path.name for path in tmp_path.rglob("tmp-*")}
            seen |= leftovers
            for path in tmp_path.rglob("metrics.csv"):  # whole, and no epoch twice
                epochs = [line.split(",")[0] for line in path.read_text().splitlines()[1:]]
                assert epochs == [str(epoch) for epoch in range(1, len(epochs) + 1)]
    assert kills >= times
    assert result(tmp_path) == undisturbed
    print(f"{kills} kills, writes cut short: {sorted(seen)}")


def test_a_killed_and_repeated_sweep_makes_the_same_table(tmp_path):
    def make(where):
        return [
            "make", "reproduce-table1", "SCALE=smoke", "SEEDS=0", "EXPERIMENT=digits",
            f"VENV={where / 'env'}",
        ]  # fmt: skip

    def place(name):
        """A tree of its own to make in, with this Python as its environment."""
        where = tmp_path / name
        for room in ("lrd", "models", "data", "experiments", "scripts", "conf"):
            shutil.copytree(ROOT / room, where / room)
        for file in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / file, where)
        shutil.copytree(ROOT / "results" / "paper", where / "results" / "paper")
        (where / "env" / "bin").mkdir(parents=True)
        python = where / "env" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (where / "env" / ".lrd-installed").touch()
        return where

    whole, cut = place("whole"), place("cut")
    subprocess.run(make(whole), cwd=whole, check=True, capture_output=True, timeout=300)
    dice = random.Random(1)
    for _ in range(3):
        process = subprocess.Popen(
            make(cut), cwd=cut, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        time.sleep(3 + 3 * dice.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(make(cut), cwd=cut, check=True, capture_output=True, timeout=300)
    for kind in ("csv", "md", "tex"):
        name = f"results/tables/smoke/table1-digits.{kind}"
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_sweep_on_a_full_disk_says_so_and_goes_on_once_there_is_room(small_disk, tmp_path):
    words = ["-m", "scale=smoke", "lrd.enabled=false,true", f"runs_dir={small_disk}"]
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 950_000)
    done = command(*words)
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    assert "No space left on device" in done.stdout
    assert "make room there, or make it writable, and repeat the command" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for path in small_disk.rglob("metrics.csv"):
        assert path.read_text().startswith("epoch,")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    again = command(*words)
    assert again.returncode == 0, again.stderr
    assert "2 done" in again.stdout
    assert (
        command("-m", "scale=smoke", "lrd.enabled=false,true", f"runs_dir={tmp_path}").returncode
        == 0
    )
    for path in small_disk.rglob("metrics.csv"):
        assert path.read_bytes() == (tmp_path / path.relative_to(small_disk)).read_bytes()
