"""What all layouts of tables share: statistics of an arm's runs, their cells, and the notes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.identity import place_of
from experiments.tasks import Column
from scripts.gather import Arm, Experiment, place
from scripts.item import Item
from scripts.tables.formats import MISSING

# Of a run's column, epoch by epoch, or of several. Epochs that were not evaluated are NaN. The
# last ten of ten epochs are all of them.
STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {
    "last": lambda curve: curve[-1],
    "max": lambda curve: np.nanmax(curve, 0),
    "min": lambda curve: np.nanmin(curve, 0),
    "last10": lambda curve: curve[-10:].mean(0) if len(curve) > 10 else np.nan,
}
SEEDS = "mean ± sample standard deviation over seeds (number of seeds)"


def values(arm: Arm, name: str, column: Column, statistic: str) -> list[float]:
    """A statistic of a column's values, of each run that is done.

    `best` is the least of a column that falls, else the greatest. Empty if the runs are too short.
    """
    if not arm.done:
        return []
    if statistic == "best":
        statistic = "min" if column.falls else "max"
    numbers = STATISTICS[statistic](arm.curves(name))
    return [] if np.isnan(numbers).any() else numbers.tolist()


def mean_std(numbers: list[float], name: str) -> dict[str, float]:
    """<name>_mean and <name>_std, the sample's; NaN where there are too few numbers."""
    return {
        f"{name}_mean": statistics.fmean(numbers) if numbers else np.nan,
        f"{name}_std": statistics.stdev(numbers) if len(numbers) > 1 else np.nan,
    }


def spread(numbers: list[float], digits: int, sign: str = "") -> str:
    """`98.21 ± 0.10`, without ± for one number, or a dash for none."""
    if not numbers:
        return MISSING
    mean, std = mean_std(numbers, "").values()
    return f"{mean:{sign}.{digits}f}" + (f" ± {std:.{digits}f}" if len(numbers) > 1 else "")


def cell(arm: Arm, name: str, column: Column, statistic: str) -> str:
    """`98.21 ± 0.10 (3)`, or a dash for no run.

    `diverged 1/3` follows the last epoch, and not the other statistics.
    """
    numbers = values(arm, name, column, statistic)
    text = f"{spread(numbers, column.digits)} ({len(numbers)})" if numbers else ""
    divergence = arm.divergence() if statistic == "last" else ""
    return ", ".join(word for word in (text, divergence) if word) or MISSING


def far_seeds(arm: Arm, name: str, column: Column) -> list[str]:
    """Of five or more runs, those whose last value has a modified z-score above 3.5 (Iglewicz and
    Hoaglin, 1993): `rmsprop seed 15 (1.809)`."""
    numbers = np.array(values(arm, name, column, "last"))
    if len(numbers) < 5:
        return []
    away = np.abs(numbers - np.median(numbers))
    if np.median(away) < 1e-9:  # most are alike, but for rounding
        return []
    far = np.flatnonzero(0.6745 * away > 3.5 * np.median(away))
    return [
        f"{arm.done[i].arm} seed {arm.done[i].seed} ({numbers[i]:.{column.digits}f})" for i in far
    ]


def best_note(chosen_on: str, flaw: str) -> str:
    """How the best epoch is to be read."""
    return (
        f"* The mean over seeds of each run's best epoch, which is chosen on the {chosen_on} set "
        f"and therefore too {flaw}; the last epoch is the result."
    )


def notes_on_runs(item: Item, experiments: list[Experiment], scale: str) -> list[str]:
    """What is not in the means, and why; and arms of the same experiments that no item shows."""
    notes = [f"{MISSING}: not run, or diverged."]
    if diverged := [place(run) for e in experiments for run in e.runs if run.status == "diverged"]:
        notes.append(f"Diverged, not in the means: {', '.join(diverged)}.")
    if unfinished := [place(run) for e in experiments for run in e.unfinished]:
        notes.append(f"Not counted, because they did not finish: {', '.join(unfinished)}.")
    if left_out := [
        f"{place_of(run.folder)}: {run.reason}" for e in experiments for run in e.left_out
    ]:
        notes.append(f"Left out: {'; '.join(left_out)}.")
    for experiment in experiments if not item.name.startswith("own-") else []:
        if experiment.own:
            command = f"python -m scripts.tables own --experiment {experiment.name} --scale {scale}"
            notes.append(
                f"Arms of {experiment.title} that are in no table: {', '.join(experiment.own)}. "
                f"They are shown by: {command}"
            )
    return notes
