"""An arm's loss by learning rate and by mean step: curves of a grid, and how wide the best is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.choice import FRESH, Choice, NoChoice, choose, criterion, last, mean_step
from scripts.gather import Experiment
from scripts.item import Item, at_rate


class Loss(NamedTuple):
    """What the runs of an experiment choose by, and differences of it that readers look for."""

    label: str
    unit: str
    within: float  # of the best: good rates
    shown: float  # above the best: what a panel shows
    digits: int


def loss_of(experiment: Experiment) -> Loss:
    """Takes an experiment with a grid of rates, returns what its runs choose by."""
    if experiment.result.falls:
        return Loss("validation loss", "nats", 0.05, 0.4, 3)
    return Loss("error on held-out images", "points", 0.1, 1.0, 2)


def curve(item: Item, experiment: Experiment, arm: str) -> pd.DataFrame:
    """Takes an arm, returns its runs that choose: rate, seed, ratio, step, validation and test.

    `ratio` is the mean step in units of the base's at this rate, `step` the rate times that; the
    losses are the last, infinite for a run that diverged. What chooses by held-out images has no
    test.
    """
    columns = {"validation": criterion(experiment.name, experiment.task)}
    if columns["validation"] != experiment.task.RESULT:
        columns["test"] = experiment.task.RESULT
    rows = []
    for rate in item.rates:
        of_rate = experiment[at_rate(arm, rate)]
        for run in sorted((*of_rate.done, *of_rate.diverged), key=lambda run: run.seed):
            if run.seed < FRESH:
                ratio = mean_step(run)
                losses = {name: last(run, column) for name, column in columns.items()}
                row = {"rate": rate, "seed": run.seed, "ratio": ratio, "step": rate * ratio}
                rows.append(row | losses)
    return pd.DataFrame(rows, columns=["rate", "seed", "ratio", "step", *columns], dtype=float)


def chosen(experiment: Experiment, arm: str) -> Choice | None:
    """The choice of an arm's runs; None where they cannot choose."""
    try:
        return choose(experiment.runs, arm, criterion(experiment.name, experiment.task))
    except NoChoice:
        return None


def octaves(
    places: Sequence[float], losses: Sequence[float], within: float = 0.05
) -> tuple[float, bool]:
    """How far in octaves the places reach, around the best, at which the loss is `within` of it.

    Losses between places lie on lines over their logarithm. Also whether the grid ends before the
    loss has left: then it is at least so far. A place that is NaN is none, and without a finite
    loss there are no octaves.
    """
    order = np.argsort(places)[: np.isfinite(places).sum()]
    x, y = np.log2(np.asarray(places)[order]), np.asarray(losses, dtype=float)[order]
    if not np.isfinite(y).any():
        return 0.0, False
    best = int(np.argmin(y))
    ends = [_reach(x[side], y[side], within) for side in (slice(best, None, -1), slice(best, None))]
    return abs(ends[1][0] - ends[0][0]), ends[0][1] or ends[1][1]


def _reach(x: np.ndarray, y: np.ndarray, within: float) -> tuple[float, bool]:
    """Where a loss that begins at its best has risen by `within`, or the last place."""
    limit = y[0] + within
    for place in range(1, len(x)):
        if not y[place] <= limit:
            share = (limit - y[place - 1]) / (y[place] - y[place - 1])
            return float(x[place - 1] + share * (x[place] - x[place - 1])), False
    return float(x[-1]), True


def widths(runs: pd.DataFrame, by: str, within: float) -> tuple[list[float], bool]:
    """Takes a curve, returns for each seed its octaves `by` rate or step; whether any is cut."""
    of_seeds = [
        octaves(of_seed[by].tolist(), of_seed["validation"].tolist(), within)
        for _, of_seed in runs.groupby("seed")
        if len(of_seed) > 1 and np.isfinite(of_seed["validation"]).any()
    ]
    return [width for width, _ in of_seeds], any(cut for _, cut in of_seeds)
