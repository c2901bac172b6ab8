"""The table of the toy's runs: the share of starts that end in each basin, by rate and p."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from experiments.record.reader import Run
from models.toy import BASINS
from scripts.gather import Arm, Experiment, among, machines
from scripts.item import KEEP_PROBS, TOY_RATES, Item, toy_arm
from scripts.tables.cells import mean_std, notes_on_runs, spread
from scripts.tables.formats import MISSING, Table, span
from scripts.verdicts.claim import Pair
from scripts.verdicts.compare import measure
from scripts.verdicts.intervals import paired
from scripts.verdicts.share import percent, percents
from scripts.verdicts.text import interval

OUTCOMES = {
    "global": "global minimum",
    "local": "bad local minimum",
    "outside": "minimum beyond x = 0",
    "none": "none yet",
}


def shares(run: Run) -> dict[str, float]:
    """Percent of the run's starts that are in each basin at its end, and in none."""
    percents = {name: 100 * run.metrics[f"{name}_share"][-1] for name in BASINS if name != "none"}
    return percents | {"none": max(0.0, 100 - sum(percents.values()))}


def values(arm: Arm, outcome: str) -> list[float]:
    """A share of each of the arm's runs, in the order of their seeds."""
    return [shares(run)[outcome] for run in arm.done]


def differences(experiment: Experiment, arm: str, base: str) -> list[float]:
    """The global minimum's share less that of `base` at the same seed, and so the same starts.

    In points, of the seeds that both have from one type of processor.
    """
    pair = Pair(experiment.name, "last:global_share", experiment.result, 1, (arm,), (base,))
    return [100 * difference for difference in measure(pair, experiment).differences]


def frame(item: Item, experiments: list[Experiment], scale: str) -> pd.DataFrame:
    """A row per learning rate and p, with n = 0 for arms that were not run; shares in percent."""
    (experiment,) = experiments
    rows = []
    for rate, keep_prob in product(TOY_RATES, KEEP_PROBS):
        name = toy_arm(rate, keep_prob)
        arm = experiment[name]
        row = {"scale": scale, "lr": rate, "p": keep_prob, "arm": name, "n": len(arm.done)}
        row |= {"seeds": " ".join(str(run.seed) for run in arm.done)}
        for outcome in OUTCOMES:
            row |= mean_std(values(arm, outcome), outcome)
        of_seeds = differences(experiment, name, toy_arm(rate, 1))
        rows.append(row | mean_std(of_seeds, "difference"))
    return pd.DataFrame(rows)


def summary(item: Item, experiments: list[Experiment], scale: str) -> Table:
    """The shares by learning rate and p, as text."""
    (experiment,) = experiments
    rows = []
    for rate, keep_prob in product(TOY_RATES, KEEP_PROBS):
        arm = experiment[toy_arm(rate, keep_prob)]
        of_seeds = differences(experiment, toy_arm(rate, keep_prob), toy_arm(rate, 1))
        group = "" if keep_prob != KEEP_PROBS[0] else f"learning rate {rate:g}"
        name = "1 (Adam alone)" if keep_prob == 1 else f"{keep_prob:g}"
        difference = MISSING if keep_prob == 1 else spread(of_seeds, 1, "+")
        cells = [spread(values(arm, outcome), 1) for outcome in OUTCOMES]
        rows.append([group, name, str(len(arm.done)), *cells, difference])
    return Table(
        item.name,
        f"Toy example, Adam, scale {scale}: {item.caption}: mean ± sample standard deviation over "
        "n seeds.",
        ["Rate", "p", "n", *OUTCOMES.values(), "global, less base's"],
        rows,
        [
            f"{setting(experiment)}. The paper gives no learning rate, number of steps or share.",
            "global, less base's: paired, over the seeds that both have from one type of "
            "processor; a seed's starts are the same in all arms.",
            "none yet: f is above its value at the saddle between the minima.",
            *_mean_steps(experiment),
            *notes_on_runs(item, experiments, scale),
        ],
    )


def _mean_steps(experiment: Experiment) -> list[str]:
    """Notes that compare masked arms with Adam alone at the rate that gives the same mean step."""
    notes = []
    for rate, keep_prob, smaller in smaller_steps():
        arms = (toy_arm(rate, keep_prob), toy_arm(smaller, 1)), (toy_arm(rate, 1),)
        pair = Pair(experiment.name, "last:global_share", experiment.result, 1, *arms)
        seeds = measure(pair, experiment).runs
        of_all = [[shares(run)["global"] for run in of_seed] for of_seed in seeds]
        masked, step, base = np.array(of_all).reshape(-1, 3).T
        rest = paired(masked - step)
        share = percent(*percents(step - base, masked - base))
        notes.append(
            f"Is it the mask, or the smaller mean step? p = {keep_prob:g} at rate {rate:g} less "
            f"Adam alone at rate {smaller:g}, global minimum, {len(seeds)} pairs: "
            f"{interval(rest.mean, rest.low, rest.high, 1)}."
        )
        if share != MISSING:
            notes[-1] += f" Of the change that p = {keep_prob:g} makes there, it makes {share}."
    return notes


def smaller_steps() -> list[tuple[float, float, float]]:
    """Rates and p, and the other rate at which Adam alone has the same mean step."""
    return [
        (rate, keep_prob, smaller)
        for rate, keep_prob, smaller in product(TOY_RATES, KEEP_PROBS, TOY_RATES)
        if smaller < rate and abs(rate * keep_prob - smaller) < 1e-9
    ]


def setting(experiment: Experiment) -> str:
    """Starts, steps, seeds and machine of all runs."""
    runs = experiment.runs
    starts = among(runs, lambda run: f"{run.config['model']['side'] ** 2:,}")
    steps = among(runs, lambda run: f"{steps_of(run):,}")
    seeds = span(len(arm.done) + len(arm.diverged) for arm in experiment.arms.values())
    return (
        f"{starts} starts, one in each cell of a grid over the box, drawn anew for each seed; "
        f"{steps} steps; seeds of an arm: {seeds}; {machines(runs)}"
    )


def steps_of(run: Run) -> int:
    """The steps of a whole run."""
    return run.config["epochs"] * run.config["data"]["steps"]
