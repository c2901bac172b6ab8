"""The learning rate at which arms are compared best against best.

Runs of a grid of rates, at seeds below FRESH, choose by validation; `rate: best` takes the chosen
one for a seed from FRESH on, so that no seed that has chosen is compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from glob import escape
from statistics import fmean
from typing import NamedTuple

import numpy as np

from experiments.configuration import Config, ConfigError
from experiments.identity import arm_name, reference
from experiments.methods import STEP_OF
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
    return float(run.metrics[column].iloc[-1]) if run.status == "done" else np.inf


def stem(arm: str) -> str:
    """An arm's name without its learning rate."""
    return "+".join(word for word in arm.split("+") if not word.startswith("lr="))


def with_chosen_rate(config: Config) -> Config:
    """The configuration with the learning rate that its `rate` asks for; itself if for none.

    `best` is the best of the arm, `step_of_magma0.5` that at which the base's mean step is that of
    +magma0.5 at its best rate. Raises NoChoice without runs to choose by, ConfigError for a seed
    that is not fresh, another rate besides, and a task without CHOICE.
    """
    how = config["rate"]
    if config["seed"] < FRESH:
        raise ConfigError(
            f"seed must be at least {FRESH} with rate={how}, got {config['seed']}: those below "
            "choose the rate, and are not to be compared"
        )
    if config["optimizer"]["lr"] != reference(config)["optimizer"]["lr"]:
        raise ConfigError(f"rate={how} chooses optimizer.lr: leave one of them out")
    column = getattr(task_module(config["task"]), "CHOICE", None)
    if column is None:
        raise ConfigError(f"rate={how}: task {config['task']} has no CHOICE, a column to choose by")
    arm = arm_name({**config, "rate": ""})
    if how.startswith(STEP_OF):
        arm = f"{arm}+{how.removeprefix(STEP_OF)}"
    place = {"scale": config["scale"], "experiment": config["experiment"]}
    runs = read_runs(config["runs_dir"], **place, arm=f"{escape(arm)}*").runs
    choice = choose(runs, arm, column)
    rate = choice.rate * (choice.mean_step if how.startswith(STEP_OF) else 1)
    return {**config, "optimizer": {**config["optimizer"], "lr": float(f"{rate:.4g}")}}
