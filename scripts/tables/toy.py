"""Of the toy's runs: the share of starts that end in each basin, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.record.reader import Run, Runs, read_runs
from models.toy import BASINS
from scripts.catalogue import TOY_KEEP_PROBS as KEEP_PROBS
from scripts.catalogue import TOY_RATES as RATES
from scripts.catalogue import toy_arm as arm_of
from scripts.gather import Arm, Experiment, gather, place, require_runs
from scripts.tables.cells import MISSING, Table

OUTCOMES = {
    "global": "global minimum",
    "local": "bad local minimum",
    "outside": "minimum beyond x = 0",
    "none": "none yet",
}
UNSETTLED = 1.0  # percent of starts in no basin yet above which the table's notes name an arm
Rates = dict[float, Experiment]


def read_rates(runs_dir: Path, scale: str) -> Rates:
    """The sweep's arms by learning rate. Raises ResultError if there is no finished run."""
    read = rates_of(read_runs(runs_dir, scale=scale, experiment="toy"))
    require_runs(list(read.values()), runs_dir, scale, sweep="figure4")
    return read


def rates_of(runs: Runs) -> Rates:
    """The sweep's arms among the toy's runs of one scale, by learning rate."""
    return {rate: gather(runs, "toy", [arm_of(rate, p) for p in KEEP_PROBS]) for rate in RATES}


def shares(run: Run, row: int = -1) -> dict[str, float]:
    """Percent of the run's starts that are in each basin at its end, or at that of another row."""
    there = run.metrics.iloc[row]
    found = {name: 100 * there[f"{name}_share"] for name in BASINS if name != "none"}
    return found | {"none": max(0.0, 100 - sum(found.values()))}


def values(arm: Arm, outcome: str) -> list[float]:
    """A share of each of the arm's runs, in the order of their seeds."""
    return [shares(run)[outcome] for run in arm.done]


def differences(arm: Arm, base: Arm, row: int = -1) -> list[float]:
    """The global minimum's share less that of `base` at the same seed, and so the same starts.

    At the runs' end, or at that of another row of their metrics.
    """
    paired = {run.seed: shares(run, row)["global"] for run in base.done}
    return [shares(run, row)["global"] - paired[run.seed] for run in arm.done if run.seed in paired]


def course(arm: Arm, base: Arm) -> list[float]:
    """The mean of `differences` at each row of the runs' metrics; nothing without a pair.

    What a share owes to the step at which the runs stop shows here.
    """
    if not differences(arm, base):
        return []
    rows = len(arm.done[0].metrics)
    return [float(np.mean(differences(arm, base, row))) for row in range(rows)]


def quarters(rows: int) -> list[int]:
    """The rows at which a quarter, half, three quarters and all of a run's steps are done."""
    return [max(1, rows * part // 4) - 1 for part in (1, 2, 3, 4)]


def frame(read: Rates, scale: str) -> pd.DataFrame:
    """A row per learning rate and p, with n = 0 for arms that were not run; shares in percent."""
    rows = []
    for rate, experiment in read.items():
        for keep_prob in KEEP_PROBS:
            arm = experiment[arm_of(rate, keep_prob)]
            row = {"scale": scale, "lr": rate, "p": keep_prob, "arm": arm_of(rate, keep_prob)}
            row |= {"n": len(arm.done), "seeds": " ".join(str(run.seed) for run in arm.done)}
            columns = {name: values(arm, name) for name in OUTCOMES}
            columns["difference"] = differences(arm, experiment[arm_of(rate, 1)])
            for name, found in columns.items():
                row[f"{name}_mean"] = np.mean(found) if found else np.nan
                row[f"{name}_std"] = np.std(found, ddof=1) if len(found) > 1 else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def cell(found: list[float], sign: str = "") -> str:
    """`41.5 ± 0.3`, without ± for one run, or a dash for none."""
    if not found:
        return MISSING
    spread = f" ± {np.std(found, ddof=1):.1f}" if len(found) > 1 else ""
    return f"{np.mean(found):{sign}.1f}{spread}"


def summary(read: Rates, scale: str) -> Table:
    """The shares by learning rate and p, as text."""
    rows = []
    for rate, experiment in read.items():
        base = experiment[arm_of(rate, 1)]
        for keep_prob in KEEP_PROBS:
            arm = experiment[arm_of(rate, keep_prob)]
            group = "" if keep_prob != KEEP_PROBS[0] else f"learning rate {rate:g}"
            name = "1 (Adam alone)" if keep_prob == 1 else f"{keep_prob:g}"
            difference = MISSING if keep_prob == 1 else cell(differences(arm, base), "+")
            cells = [cell(values(arm, outcome)) for outcome in OUTCOMES]
            rows.append([group, name, str(len(arm.done)), *cells, difference])
    caption = (
        f"Toy example, Adam, scale {scale}: percent of the starts that end in the basin of each "
        "minimum, by learning rate and p, the probability that a parameter is updated: mean ± "
        "sample standard deviation over n seeds."
    )
    header = ["Rate", "p", "n", *OUTCOMES.values(), "global, less base's"]
    return Table("figure4", caption, header, rows, _notes(read))


def _notes(read: Rates) -> list[str]:
    notes = [
        f"{setting(read)}. The paper gives no learning rate, number of steps or share.",
        "global, less base's: paired, over the seeds that both have; a seed's starts are the same "
        "in all arms.",
        *_stopping_notes(read),
    ]
    for rate, keep_prob, smaller in smaller_steps():
        masked, base = read[rate][arm_of(rate, keep_prob)], read[smaller][arm_of(smaller, 1)]
        found = course(masked, base)
        ends = f" (at the quarters of the steps: {_at_quarters(found)})" if found else ""
        notes.append(
            f"Is it the mask, or the smaller mean step? p = {keep_prob:g} at rate {rate:g} less "
            f"Adam alone at rate {smaller:g}, global minimum, paired: "
            f"{cell(differences(masked, base), '+')}{ends}."
        )
    notes.append(f"{MISSING}: not run, or diverged.")
    unfinished = [place(run) for each in read.values() for run in each.unfinished]
    if unfinished:
        notes.append(f"Not counted, because they did not finish: {', '.join(unfinished)}.")
    return notes


def _stopping_notes(read: Rates) -> list[str]:
    """What the shares owe to the steps at which the runs stop."""
    unsettled = ", ".join(
        f"{np.mean(found):.1f} % at rate {rate:g}, p = {keep_prob:g}"
        for rate, experiment in read.items()
        for keep_prob in KEEP_PROBS
        if (found := values(experiment[arm_of(rate, keep_prob)], "none"))
        and np.mean(found) > UNSETTLED
    )
    return [
        "none yet: f is above its value at the saddle between the minima. Such a start has not "
        "failed: it is on its way, or in a valley without end where f falls to 7.3 as y "
        f"falls, or a long step threw it out of a basin. More than {UNSETTLED:g} % of the "
        f"starts: {unsettled or 'in no arm'}.",
        *_courses(read),
    ]


def _courses(read: Rates) -> list[str]:
    """How the difference of p = 0.5 came about, and how far those of all p still move."""
    courses, widths = [], []
    for rate, experiment in read.items():
        base = experiment[arm_of(rate, 1)]
        found = {p: each for p in KEEP_PROBS if (each := course(experiment[arm_of(rate, p)], base))}
        if 0.5 in found:
            courses.append(f"{_at_quarters(found[0.5])} at rate {rate:g}")
        if found:
            ends = [each[-1 - len(each) // 4 :] for each in found.values()]
            widths.append(f"{max(max(end) - min(end) for end in ends):.1f} at rate {rate:g}")
    if not courses:
        return []
    return [
        "Does it matter when the runs stop? global, less base's, for p = 0.5, after a quarter, "
        f"half, three quarters and all of the steps: {'; '.join(courses)}. Over the last quarter "
        f"it varies, for any p, by at most {', '.join(widths)}. What does not come to rest are "
        "starts that long steps go on carrying from one basin to another."
    ]


def _at_quarters(found: list[float]) -> str:
    return ", ".join(f"{found[row]:+.1f}" for row in quarters(len(found)))


def smaller_steps() -> list[tuple[float, float, float]]:
    """Rates and p, and the other rate at which Adam alone has the same mean step."""
    return [
        (rate, keep_prob, smaller)
        for rate in RATES
        for keep_prob in KEEP_PROBS
        for smaller in RATES
        if smaller < rate and abs(rate * keep_prob - smaller) < 1e-9
    ]


def setting(read: Rates) -> str:
    """Starts, steps, seeds and machine of all runs."""
    runs = [run for experiment in read.values() for run in experiment.runs]

    def among(value: Callable[[Run], Any]) -> str:
        return " or ".join(sorted({f"{value(run):,}" for run in runs}))

    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    machines = sorted(
        {
            f"{run.info['device']} ({run.info['cpu']}), threads: {run.info['threads']}, "
            f"torch {run.info['versions']['torch']}"
            for run in runs
        }
    )
    return (
        f"{among(lambda run: run.config['model']['side'] ** 2)} starts, one in each cell of a grid "
        f"over the box, drawn anew for each seed; {among(steps_of)} steps; seeds: {seeds}; "
        f"device: {' or '.join(machines)}"
    )


def steps_of(run: Run) -> int:
    """The steps of a whole run."""
    return run.config["epochs"] * run.config["data"]["steps"]
