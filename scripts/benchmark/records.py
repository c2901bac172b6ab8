"""Benchmarks of what is made from run folders, as they become many."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from experiments.identity import config_hash
from experiments.record.faults import record_digest
from experiments.record.reader import read_config, read_info
from scripts.benchmark.measure import Result

COUNT = 10_000
ORIGINS = Path("results/runs/lite/cifar10")  # most tables and claims are of this experiment
_COMMANDS = (
    ("table2", "scripts.tables table2 --scale lite --runs-dir {0}/runs --out {0}/tables", 10),
    ("figure10", "scripts.figures figure10 --scale lite --runs-dir {0}/runs --out {0}/figures", 10),
    ("verdicts", "scripts.verdicts --scale lite --runs-dir {0}/runs --out {0}", 10),
    ("verify", "scripts.verify --runs-dir {0}/runs", 20),
    ("report", "scripts.report --results {0}", 60),
)


def records() -> Iterator[Result]:
    """Processor seconds of a table, a figure, verdicts, verify and report of 10,000 run folders."""
    with tempfile.TemporaryDirectory() as results:
        make_runs(ORIGINS, Path(results) / "runs", COUNT)
        for name, command, goal in _COMMANDS:
            seconds = _processor_seconds(command.format(results))
            what = f"{name} of {COUNT:,} run folders"
            yield Result("records", what, value=seconds, unit="s", goal=goal, note="processor time")


def _processor_seconds(command: str) -> float:
    """User and system seconds of a command, whatever else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", *command.split()], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_runs(origins: Path, runs_dir: Path, count: int) -> None:
    """Takes <scale>/<experiment> of run folders, writes as many whole ones below `runs_dir`.

    They are copies of its arms, seed by seed, with numbers up to a hundredth smaller.
    """
    arms = [min(arm.iterdir()) for arm in sorted(origins.iterdir())]
    for number in range(count):
        seed, place = divmod(number, len(arms))
        origin = arms[place]
        folder = runs_dir.joinpath(*origin.parts[-4:-1], f"seed{seed}")
        folder.mkdir(parents=True)
        config = read_config(origin) | {"seed": seed}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        metrics = pd.read_csv(origin / "metrics.csv")
        metrics.iloc[:, 2:] *= np.random.default_rng(seed).uniform(
            0.99, 1, metrics.iloc[:, 2:].shape
        )
        metrics.to_csv(folder / "metrics.csv", index=False)
        for name in ("timing.csv", "paths.csv"):
            if (origin / name).exists():
                (folder / name).write_bytes((origin / name).read_bytes())
        info = read_info(origin) | {"seed": seed, "hash": config_hash(config)}
        info["digest"] = record_digest(folder, info)
        (folder / "run.json").write_text(json.dumps(info, indent=1))
