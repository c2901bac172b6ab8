"""Of the toy's runs: the share of starts that end in each basin, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.record import Run, read_runs
from models.toy import BASINS
from scripts.arms import Arm, Experiment, gather, place, require_runs
from scripts.tables import MISSING, Table

RATES = (0.01, 0.05, 0.1)  # the first is the experiment's own
KEEP_PROBS = (0.1, 0.3, 0.5, 0.7, 0.9, 1)  # at 1 it is Adam alone
OUTCOMES = {
    "global": "global minimum",
    "local": "bad local minimum",
    "outside": "minimum beyond x = 0",
    "none": "none yet",
}
Rates = dict[float, Experiment]


def arm_of(rate: float, keep_prob: float) -> str:
    """The name of an arm of the sweep."""
    mask = "" if keep_prob == 1 else f"+lrd{keep_prob:g}"
    return f"adam{mask}" if rate == RATES[0] else f"adam{mask}+lr={rate:g}"


def read_rates(runs_dir: Path, scale: str) -> Rates:
    """The sweep's arms by learning rate. Raises ResultError if there is no finished run."""
    read = rates_of(read_runs(runs_dir, scale=scale, experiment="toy"))
    require_runs(list(read.values()), runs_dir, scale, sweep="figure4")
    return read


def rates_of(runs: list[Run]) -> Rates:
    """The sweep's arms among the toy's runs of one scale, by learning rate."""
    return {rate: gather(runs, "toy", [arm_of(rate, p) for p in KEEP_PROBS]) for rate in RATES}


def shares(run: Run) -> dict[str, float]:
    """Percent of the run's starts that are in each basin at its end."""
    last = run.metrics.iloc[-1]
    found = {name: 100 * last[f"{name}_share"] for name in BASINS if name != "none"}
    return found | {"none": max(0.0, 100 - sum(found.values()))}


def values(arm: Arm, outcome: str) -> list[float]:
    """A share of each of the arm's runs, in the order of their seeds."""
    return [shares(run)[outcome] for run in arm.done]


def differences(arm: Arm, base: Arm) -> list[float]:
    """The global minimum's share less that of `base` at the same seed, and so the same starts."""
    paired = {run.seed: shares(run)["global"] for run in base.done}
    return [shares(run)["global"] - paired[run.seed] for run in arm.done if run.seed in paired]


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
        "in all arms. none yet: f is still above its value at the saddle between the minima.",
    ]
    for rate, keep_prob, smaller in smaller_steps():
        masked = read[rate][arm_of(rate, keep_prob)]
        found = differences(masked, read[smaller][arm_of(smaller, 1)])
        notes.append(
            f"Is it the mask, or the smaller mean step? p = {keep_prob:g} at rate {rate:g} less "
            f"Adam alone at rate {smaller:g}, global minimum, paired: {cell(found, '+')}."
        )
    notes.append(f"{MISSING}: not run, or diverged.")
    unfinished = [place(run) for each in read.values() for run in each.unfinished]
    if unfinished:
        notes.append(f"Not counted, because they did not finish: {', '.join(unfinished)}.")
    return notes


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
