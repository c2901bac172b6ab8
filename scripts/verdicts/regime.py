"""Whether a base at scale mid has converged and overfits, as the paper's do, so that a regularizer
could help."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from experiments.record.reader import Run, Runs
from scripts.catalogue import ITEMS
from scripts.gather import Arm, gather
from scripts.item import HALF_LABEL, HALF_RATE, OPTIMIZERS
from scripts.tables.cells import spread
from scripts.tables.formats import MISSING, Table, capital
from scripts.titles import title

SCALE = "mid"
_BOUNDS = {  # of means over seeds, set before the runs
    "clean training accuracy (%)": (95.0, 100.0),
    "its change over the last tenth of the epochs": (-0.5, 0.5),
    "gap to test accuracy (points)": (5.0, 100.0),
    "test error (%)": (0.0, 25.0),
}


def _numbers(run: Run) -> list[float]:
    """What _BOUNDS names, of a run."""
    clean = run.metrics.get("clean_accuracy", np.array([np.nan]))
    evaluated = ~np.isnan(clean)
    before = clean[evaluated & (np.arange(1, len(clean) + 1) <= 0.9 * len(clean))]
    test = run.metrics["test_accuracy"][-1]
    change = clean[-1] - before[-1] if len(before) else np.nan
    return [float(number) for number in (clean[-1], change, clean[-1] - test, 100 - test)]


def missed(arm: Arm) -> list[str]:
    """Takes a base's runs, returns the bounds that their means miss, with the number."""
    if not arm.done:
        return ["it has no finished run"]
    if "test_accuracy" not in arm.done[0].metrics:
        return []
    done = [run for run in arm.done if "clean_accuracy" in run.metrics] or arm.done
    means = map(fmean, zip(*map(_numbers, done), strict=True))
    return [
        f"{name} {mean:.2f}, to be {low:g} to {high:g}"
        for (name, (low, high)), mean in zip(_BOUNDS.items(), means, strict=True)
        if not low <= mean <= high
    ]


def table(runs: Runs) -> Table | None:
    """Takes the runs of scale mid, returns a row for each optimizer without LRD, with it and at
    half the rate; None without runs."""
    rows = []
    methods = {**ITEMS["table1"].methods, HALF_LABEL: HALF_RATE}
    names = {
        optimizer + suffix: (name, label)
        for optimizer, name in OPTIMIZERS.items()
        for label, suffix in methods.items()
    }
    for experiment in ITEMS["table1"].experiments:
        arms = gather(runs, experiment, names)
        for arm, words in names.items():
            if done := arms[arm].done:
                numbers = zip(*map(_numbers, done), strict=True)
                cells = [MISSING if np.isnan(of).any() else spread([*of], 2) for of in numbers]
                holds = "no" if missed(arms[arm]) else "yes"
                data = title(experiment, [done[0].config])
                rows.append([data, *words, str(len(done)), *cells, holds])
    if not rows:
        return None
    heads = [f"{capital(name)}, {_range(*of)}" for name, of in _BOUNDS.items()]
    return Table(
        "regime",
        "Has the base converged, and does it fit its training images better than others, as the "
        f"paper's do? Scale {SCALE}: mean ± sample standard deviation over n seeds, last epoch.",
        ["Data", "Optimizer", "Method", "n", *heads, "All"],
        rows,
        ["Clean training accuracy: of training images without augmentation, in evaluation mode. "
         "Claims about a base that misses a bound are not comparable; other rows are beside it."],
    )  # fmt: skip


def _range(low: float, high: float) -> str:
    if low == -high:
        return f"within ±{high:g}"
    return f"at least {low:g}" if high == 100 else f"at most {high:g}"
