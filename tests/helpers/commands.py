"""The runner for tests: its configurations, and the command that users type."""

import csv
import os
import subprocess
import sys
from itertools import product
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


def sweep_configurations(name):
    """The configurations of a sweep file's own parameters, at paper scale and seed 0."""
    with initialize_config_dir(CONF, version_base="1.3"):
        words = [f"+sweep={name}", "scale=paper", "runs_dir=x"]
        sweep = compose("config", words, return_hydra_config=True)
        choices = {key: str(each) for key, each in sweep.hydra.sweeper.params.items()}
        for values in product(*(each.split(",") for each in choices.values())):
            assignments = [f"{key}={value}" for key, value in zip(choices, values, strict=True)]
            config = compose("config", ["scale=paper", "runs_dir=x", *assignments])
            yield OmegaConf.to_container(config, resolve=True)


def command(*arguments, cwd=ROOT, **variables):
    """The real command in a process of its own."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "experiments.run", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(*arguments, **more):
    """The real command, going on by itself; its output and errors are one text."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *arguments],
        cwd=ROOT,
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
