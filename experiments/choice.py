"""The learning rate at which arms are compared best against best.

Runs of a grid of rates, at seeds below FRESH, choose by validation; `best_rate: true` takes the
chosen one for a seed from FRESH on, so that no seed that has chosen is compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

import numpy as np

from experiments.configuration import Config, ConfigError
from experiments.identity import arm_name, reference
from experiments.record.reader import Run, read_runs
from experiments.record.schema import FINISHED
from experiments.tasks import task_module

FRESH = 10  # the first seed that may be compared


class NoChoice(ConfigError):
    """The runs that would choose a rate are not there."""


class Choice(NamedTuple):
    """The rate of a grid with the least mean validation loss, and the mean step there."""

    rate: float
    mean_step: float
    at_edge: bool  # no rate of the grid lies on one of its sides


def choose(runs: Iterable[Run], arm: str, column: str) -> Choice:
    """Takes runs and an arm, returns the choice of its seeds below FRESH by the last of `column`.

    Raises NoChoice for fewer than two rates, or rates of which the finished seeds differ.
    """
    grid: dict[float, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        if stem(run.arm) == arm and run.seed < FRESH and run.status in FINISHED:
            grid[run.config["optimizer"]["lr"]][run.seed] = run
    if len(grid) < 2 or len({frozenset(of_rate) for of_rate in grid.values()}) > 1:
        seeds = "; ".join(f"{rate:g}: {sorted(grid[rate])}" for rate in sorted(grid)) or "none"
        raise NoChoice(
            f"no best rate of {arm}: it needs runs at several rates, all at the same seeds below "
            f"{FRESH}; finished are {seeds}. Run the sweep of rates first"
        )
    means = {
        rate: fmean(last(run, column) for run in of_rate.values())
        for rate, of_rate in sorted(grid.items())
    }
    rate = min(means, key=means.__getitem__)
    steps = [run.metrics["mean_step"].mean() for run in grid[rate].values()]
    return Choice(rate, fmean(steps), rate in (min(means), max(means)))


def last(run: Run, column: str) -> float:
    """A column's last value; infinite for a run that diverged."""
    return float(run.metrics[column][-1]) if run.status == "done" else np.inf


def stem(arm: str) -> str:
    """An arm's name without its learning rate."""
    return "+".join(word for word in arm.split("+") if not word.startswith("lr="))


def with_chosen_rate(config: Config) -> Config:
    """Takes a configuration with best_rate=true, returns it with the learning rate that is chosen.

    With `step_of` it is the rate at which the mean step is that of the arm of this name at its
    own best rate. Raises NoChoice without runs to choose by, ConfigError for a seed that is not
    fresh, another rate besides, and a task without CHOICE.
    """
    if config["seed"] < FRESH:
        raise ConfigError(
            f"seed must be at least {FRESH} with best_rate=true, got {config['seed']}: those below "
            "choose the rate, and are not to be compared"
        )
    if config["optimizer"]["lr"] != reference(config)["optimizer"]["lr"]:
        raise ConfigError("best_rate=true chooses optimizer.lr: leave one of them out")
    column = getattr(task_module(config["task"]), "CHOICE", None)
    if column is None:
        raise ConfigError(
            f"best_rate=true: task {config['task']} has no CHOICE, the column to choose by"
        )
    arm = "+".join([arm_name({**config, "best_rate": False, "step_of": ""}), *_of(config)])
    place = {"scale": config["scale"], "experiment": config["experiment"]}
    runs = read_runs(config["runs_dir"], **place, wanted=lambda name: stem(name) == arm).runs
    choice = choose(runs, arm, column)
    rate = choice.rate * (choice.mean_step if _of(config) else 1)
    return {**config, "optimizer": {**config["optimizer"], "lr": float(f"{rate:.4g}")}}


def _of(config: Config) -> list[str]:
    return [config["step_of"]] if config["step_of"] else []
