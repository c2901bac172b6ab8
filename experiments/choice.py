"""The settings at which arms are compared best against best.

Runs of a grid of learning rates, at the seeds of CHOOSERS, choose by validation; `best_rate: true`
takes what they have chosen for a seed from FRESH on, so that no seed that has chosen is compared.
Seeds between them tell more of the grid, and change no choice that has been used.
Where there is an experiment `mnist_choice`, its runs choose for `mnist`, weight decay as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from types import ModuleType
from typing import NamedTuple

import numpy as np

from experiments.configuration import Config, ConfigError
from experiments.identity import CHOOSING, arm_name, chooser, reference, tuned
from experiments.record.reader import Run, read_runs
from experiments.tasks import task_module

CHOOSERS = (0, 1)
FRESH = 10  # the first seed that may be compared


class NoChoice(ConfigError):
    """The runs that would choose a rate are not there."""


class Choice(NamedTuple):
    """The rate and weight decay of a grid with the least mean loss, and the mean step there."""

    rate: float
    mean_step: float
    at_edge: bool  # no rate of the grid lies on one of its sides
    decay: float


def choose(runs: Iterable[Run], arm: str, column: str, keys: tuple[str, ...] = ("lr",)) -> Choice:
    """Takes runs and an arm without `keys` in its name, returns what its CHOOSERS choose.

    They choose by the last of `column`. Raises NoChoice for fewer than two rates, a rate that was
    not run at every weight decay, and settings of which the finished seeds differ.
    """
    grid: dict[tuple[float, float], dict[int, Run]] = defaultdict(dict)
    for run in runs:
        if stem(run.arm, keys) == arm and run.seed in CHOOSERS and run.finished:
            optimizer = run.config["optimizer"]
            grid[optimizer["lr"], optimizer.get("weight_decay", 0.0)][run.seed] = run
    rates, decays = ({cell[place] for cell in grid} for place in (0, 1))
    whole = len(grid) == len(rates) * len(decays)
    if len(rates) < 2 or not whole or len({frozenset(of_cell) for of_cell in grid.values()}) > 1:
        seeds = "; ".join(
            f"{rate:g}{f' with weight decay {decay:g}' if len(decays) > 1 else ''}: {sorted(seeds)}"
            for (rate, decay), seeds in sorted(grid.items())
        )
        raise NoChoice(
            f"no best rate of {arm}: it needs runs at several rates, all at the same weight decays "
            f"and the same seeds of {CHOOSERS}; finished are {seeds or 'none'}. Run the sweep of "
            "rates first"
        )
    means = {
        cell: fmean(last(run, column) for run in of_cell.values())
        for cell, of_cell in sorted(grid.items())
    }
    rate, decay = best = min(means, key=means.__getitem__)
    if not np.isfinite(means[best]):
        raise NoChoice(f"no best rate of {arm}: at each one a run has diverged")
    steps = [mean_step(run) for run in grid[best].values()]
    return Choice(rate, fmean(steps), rate in (min(rates), max(rates)), decay)


def last(run: Run, column: str) -> float:
    """A column's last value, or how far it is below its highest if it rises with a better net;
    infinite for a run that diverged.

    Of an experiment that chooses for another it is the mean of the last ten epochs: at a constant
    rate one epoch's accuracy differs from the next one's by more than the rates do.
    """
    if run.status != "done":
        return np.inf
    of_task = task_module(run.config["task"]).COLUMNS[column]
    count = 10 if run.experiment.endswith(CHOOSING) else 1
    value = float(np.nanmean(run.metrics[column][-count:]))
    top = of_task.highest if np.isfinite(of_task.highest) else 0.0
    return value if of_task.falls else top - value


def mean_step(run: Run) -> float:
    """How far a run's updates go in units of the base's: the mean of its column while it is finite,
    NaN if it never is. Without the column it is 1 for the base and p for learning rate dropout, by
    its definition, and NaN for other arms."""
    if "mean_step" not in run.metrics:
        methods = [word for word in run.arm.split("+")[1:] if "=" not in word]
        p = float(run.config["lrd"]["p"])
        return {(): 1.0, (f"lrd{p:g}",): p}.get(tuple(methods), np.nan)
    steps = run.metrics["mean_step"]
    finite = steps[np.isfinite(steps)]
    return float(finite.mean()) if len(finite) else np.nan


def stem(arm: str, keys: tuple[str, ...] = ("lr",)) -> str:
    """An arm's name without the words of these keys."""
    words = tuple(f"{key}=" for key in keys)
    return "+".join(word for word in arm.split("+") if not word.startswith(words))


def criterion(experiment: str, task: ModuleType) -> str | None:
    """Takes an experiment and its task's module, returns the column by which runs choose, if any.

    It is the task's CHOICE, or the result of an experiment that chooses for another.
    """
    return task.RESULT if experiment.endswith(CHOOSING) else getattr(task, "CHOICE", None)


def with_chosen_rate(config: Config) -> Config:
    """Takes a configuration with best_rate=true, returns it with the settings that are chosen.

    With `step_of` the rate is that at which the mean step is that of the arm of this name at its
    own best rate. Raises NoChoice without runs to choose by, ConfigError for a seed that is not
    fresh, another rate besides, and an experiment without a column to choose by.
    """
    if config["seed"] < FRESH:
        raise ConfigError(
            f"seed must be at least {FRESH} with best_rate=true, got {config['seed']}: those below "
            "choose the rate, and are not to be compared"
        )
    if config["experiment"].endswith(CHOOSING):
        raise ConfigError(f"best_rate=true: {config['experiment']} chooses for another experiment")
    optimizer, own = config["optimizer"], reference(config)["optimizer"]
    keys = tuned(config["experiment"])
    for key in keys:
        if optimizer.get(key) != own.get(key):
            raise ConfigError(f"best_rate=true chooses optimizer.{key}: leave one of them out")
    experiment = chooser(config["experiment"])
    column = criterion(experiment, task_module(config["task"]))
    if column is None:
        raise ConfigError(
            f"best_rate=true: task {config['task']} has no CHOICE, the column to choose by, and "
            f"there is no experiment {config['experiment']}_choice"
        )
    name, *words = arm_name({**config, "best_rate": False, "step_of": ""}).split("+")
    arm = "+".join(filter(None, (name, config["step_of"], *words)))
    place = {"scale": config["scale"], "experiment": experiment}
    runs = read_runs(config["runs_dir"], **place, wanted=lambda name: stem(name, keys) == arm).runs
    choice = choose(runs, arm, column, keys)
    chosen = {"lr": choice.rate}
    if config["step_of"]:
        if np.isnan(choice.mean_step):
            raise NoChoice(f"no mean step of {arm}: the runs of {experiment} do not record it")
        chosen = {"lr": float(f"{choice.rate * choice.mean_step:.4g}")}
    if "weight_decay" in keys and choice.decay != own.get("weight_decay", 0):
        chosen["weight_decay"] = choice.decay
    return {**config, "optimizer": {**optimizer, **chosen}}
