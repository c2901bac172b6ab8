"""An arm's loss by learning rate and by mean step: curves of a grid, and how wide the best is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.choice import FRESH, Choice, NoChoice, choose, last
from experiments.record.reader import Run
from scripts.gather import Experiment
from scripts.item import Item, at_rate

WITHIN = 0.05  # nats of the best


def curve(item: Item, experiment: Experiment, arm: str) -> pd.DataFrame:
    """Takes an arm, returns its runs that choose: rate, seed, ratio, step, validation and test.

    `ratio` is the mean step in units of the base's at this rate, `step` the rate times that; the
    losses are the last, infinite for a run that diverged.
    """
    columns = {"validation": experiment.task.CHOICE, "test": experiment.task.RESULT}
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


def mean_step(run: Run) -> float:
    """A run's mean step over its epochs, in units of the base's; NaN if it has none."""
    steps = run.metrics["mean_step"]
    finite = steps[np.isfinite(steps)]  # of one that diverged, until then
    return float(finite.mean()) if len(finite) else np.nan


def chosen(experiment: Experiment, arm: str) -> Choice | None:
    """The choice of an arm's runs; None where they cannot choose."""
    try:
        return choose(experiment.runs, arm, experiment.task.CHOICE)
    except NoChoice:
        return None


def octaves(places: Sequence[float], losses: Sequence[float]) -> tuple[float, bool]:
    """How far in octaves the places reach, around the best, at which the loss is WITHIN of it.

    Losses between places lie on lines over their logarithm. Also whether the grid ends before the
    loss has left: then it is at least so far. A place that is NaN is none, and without a finite
    loss there are no octaves.
    """
    order = np.argsort(places)[: np.isfinite(places).sum()]
    x, y = np.log2(np.asarray(places)[order]), np.asarray(losses, dtype=float)[order]
    if not np.isfinite(y).any():
        return 0.0, False
    best = int(np.argmin(y))
    ends = [_reach(x[best::-1], y[best::-1]), _reach(x[best:], y[best:])]
    return abs(ends[1][0] - ends[0][0]), ends[0][1] or ends[1][1]


def _reach(x: np.ndarray, y: np.ndarray) -> tuple[float, bool]:
    """Where a loss that begins at its best has risen by WITHIN, or the last place."""
    limit = y[0] + WITHIN
    for place in range(1, len(x)):
        if not y[place] <= limit:
            share = (limit - y[place - 1]) / (y[place] - y[place - 1])
            return float(x[place - 1] + share * (x[place] - x[place - 1])), False
    return float(x[-1]), True


def widths(runs: pd.DataFrame, by: str) -> tuple[list[float], bool]:
    """Takes a curve, returns for each seed its octaves `by` rate or step; whether any is cut."""
    of_seeds = [
        octaves(of_seed[by].tolist(), of_seed["validation"].tolist())
        for _, of_seed in runs.groupby("seed")
        if len(of_seed) > 1 and np.isfinite(of_seed["validation"]).any()
    ]
    return [width for width, _ in of_seeds], any(cut for _, cut in of_seeds)
