"""What no claim asks: how much of LRD's change the base at LRD's mean step reproduces.

For every optimizer that was run as the base, with LRD at p, and as the base at p times the rate.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from experiments.record.reader import Runs
from scripts.gather import Experiment, gather
from scripts.tables.cells import STATISTICS
from scripts.tables.formats import MISSING, Table
from scripts.verdicts import regime
from scripts.verdicts.claim import Pair
from scripts.verdicts.compare import measure
from scripts.verdicts.intervals import paired, ratio
from scripts.verdicts.text import interval

GOAL = 99.9  # percent of training accuracy, whose first epoch is counted
NOTE = f"*: the base misses a bound of scale {regime.SCALE}, such as of convergence."
_HEADER = ["Data", "Of", "Optimizer", "p", "n", "Base"]
_HEADER += ["LRD − base", "Smaller step − base", "Share", "LRD − smaller step"]


def _reached(curve: np.ndarray) -> float:
    """The first epoch at which a curve is at the goal; one more than it has if none is."""
    reached = np.flatnonzero(curve >= GOAL)
    return float(reached[0] + 1 if len(reached) else len(curve) + 1)


_STATISTICS = {
    "training accuracy over all epochs (%)": ("train_accuracy", np.mean, 3),
    f"epochs to {GOAL} % training accuracy": ("train_accuracy", _reached, 1),
    "test loss (nats), last epoch": ("test_loss", STATISTICS["last"], 4),
    "test accuracy, last epoch (%)": ("test_accuracy", STATISTICS["last"], 2),
    "test accuracy, mean of the last ten epochs (%)": ("test_accuracy", STATISTICS["last10"], 2),
}


def rows_of(runs: Runs, scale: str) -> list[dict[str, Any]]:
    """A row for each experiment, optimizer and statistic, of the seeds that all three arms have."""
    rows = []
    names = {
        (run.experiment, run.arm) for run in runs.runs if run.config["task"] == "classification"
    }
    for name, arm in sorted(names):
        if not (found := re.search(r"\+lrd([\d.]+)", arm)):
            continue
        base, smaller = arm.replace(found[0], ""), arm.replace(found[0], f"+lr{found[1]}")
        experiment = gather(runs, name, (base, arm, smaller))
        if len(experiment.arms) == 3:
            rows += _of_arms(experiment, (base, arm, smaller), float(found[1]), scale)
    return rows


def _of_arms(
    experiment: Experiment, arms: tuple[str, str, str], p: float, scale: str
) -> list[dict[str, Any]]:
    base, masked, smaller = arms
    column = experiment.task.COLUMNS["test_accuracy"]
    all_three = Pair(experiment.name, "last:test_accuracy", column, 1, (masked, smaller), (base,))
    seeds = measure(all_three, experiment).runs
    short = scale == regime.SCALE and bool(regime.missed(experiment[base]))
    rows = []
    for label, (name, summary, digits) in _STATISTICS.items():
        values = np.array([[summary(run.metrics[name]) for run in of_seed] for of_seed in seeds])
        if summary is _reached and (values > [[r.epochs for r in runs] for runs in seeds]).all():
            continue  # none gets there
        values = values[~np.isnan(values).any(1)] if len(values) else values.reshape(0, 3)
        if not len(values):
            continue
        with_mask, with_step, plain = values.T
        mask, step, rest = map(
            paired, (with_mask - plain, with_step - plain, with_mask - with_step)
        )
        share = percents(with_step - plain, with_mask - plain)
        rows.append(
            {
                "scale": scale,
                "experiment": experiment.name,
                "data": experiment.title,
                "statistic": label,
                "digits": digits,
                "optimizer": base,
                "p": p,
                "n": len(values),
                "base": float(plain.mean()),
                "short": short,
                **{f"mask_{key}": value for key, value in mask._asdict().items()},
                **{f"step_{key}": value for key, value in step._asdict().items()},
                **{f"rest_{key}": value for key, value in rest._asdict().items()},
                **dict(zip(("share", "share_low", "share_high"), share, strict=True)),
            }
        )
    return rows


def percents(step: np.ndarray, mask: np.ndarray) -> list[float]:
    """Of the mask's mean change, what the step's makes, in percent; and its interval."""
    return [100 * part for part in ratio(step, mask)]


def percent(share: float, low: float, high: float) -> str:
    """`94 % [31, 386]`, or a dash for no share."""
    return MISSING if math.isnan(share) else f"{share:.0f} % [{low:.0f}, {high:.0f}]"


def table(rows: list[dict[str, Any]], scale: str) -> tuple[Table, pd.DataFrame]:
    """The rows as text and as numbers."""
    lines = []
    for row in rows:
        digits = row["digits"]
        mask, step, rest = (
            interval(*(row[f"{side}_{end}"] for end in ("mean", "low", "high")), digits)
            for side in ("mask", "step", "rest")
        )
        share = percent(row["share"], row["share_low"], row["share_high"])
        base = f"{row['base']:.{digits}f}"
        optimizer = row["optimizer"] + "*" * row["short"]
        names = row["data"], row["statistic"], optimizer, f"{row['p']:g}"
        lines.append([*names, str(row["n"]), base, mask, step, share, rest])
    notes = [
        "Smaller step: the base at p times the learning rate, which has LRD's mean step. Share: of "
        "LRD's mean change, what the smaller step changes (Fieller's interval); a dash where the "
        "interval of LRD's change holds 0. In brackets: intervals that stay valid when seeds are "
        "added.",
        "Seeds at which all three arms ran on processors of one type. A run that never reaches "
        f"{GOAL} % counts one epoch more than it has.",
    ]
    if any(row["short"] for row in rows):
        notes.append(NOTE)
    caption = f"How much of what LRD changes a smaller step changes too, scale {scale}."
    frame = pd.DataFrame(rows).drop(columns=["data", "digits", "short"], errors="ignore")
    return Table("share", caption, _HEADER, lines, notes), frame
