"""The runner for tests: its configurations, and the command that users type."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
CONF = str(ROOT / "conf")
TESTS = Path(__file__).parents[1]


def configure(*overrides, runs_dir):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("config", ["scale=smoke", f"runs_dir={runs_dir}", *overrides])
    return OmegaConf.to_container(config, resolve=True)


def python(*words, cwd=ROOT, **variables):
    """A Python process with these arguments, and these variables in its environment."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **{key: str(value) for key, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=300,
    )


def command(*arguments, **more):
    """The real command in a process of its own."""
    return python("-m", "experiments.run", *arguments, **more)


def start(*arguments, cwd=ROOT, **more):
    """The real command, going on by itself; its output and errors are one text.

    One that is killed leaves temporary files in its folder.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").open()))


def torchrun(processes, *words):
    """The command that starts several processes, which end with it."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    variables = {"PYTHONPATH": f"{ROOT}:{TESTS}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def complete(process):
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output
