"""Tables of arms by learning rate: the best rate, the mean step there, and how wide the best is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from experiments.choice import CHOOSERS, FRESH
from scripts.gather import Experiment, conditions
from scripts.item import OPTIMIZERS, Item
from scripts.rates import chosen, curve, loss_of, widths
from scripts.tables.cells import SEEDS, mean_std, notes_on_runs, spread
from scripts.tables.formats import MISSING, Table

_BY = {"rate": "Octaves of rate", "step": "Octaves of mean step"}


def frame(item: Item, experiments: list[Experiment], scale: str) -> pd.DataFrame:
    """A row per optimizer, method and rate, with n = 0 where it was not run."""
    (experiment,) = experiments
    within = loss_of(experiment).within
    rows = []
    for optimizer, (method, suffix) in product(item.optimizers, item.methods.items()):
        arm = optimizer + suffix
        runs, choice = curve(item, experiment, arm), chosen(experiment, arm)
        names = {"scale": scale, "optimizer": optimizer, "method": method.lower(), "arm": arm}
        numbers = {by: widths(runs, by, within)[0] for by in _BY}
        wide = {f"octaves_by_{by}": mean_std(of, "")["_mean"] for by, of in numbers.items()}
        for rate in item.rates:
            of_rate = runs[runs["rate"] == rate]
            row = {**names, "lr": rate, "n": len(of_rate), "mean_step": of_rate["ratio"].mean()}
            row["chosen"] = choice is not None and choice.rate == rate
            row["diverged"] = int(np.isinf(of_rate["validation"]).sum())
            for name in runs.columns.intersection(["validation", "test"]):
                done = of_rate[name][np.isfinite(of_rate[name])]
                row |= mean_std(done.tolist(), name)
            rows.append(row | wide)
    return pd.DataFrame(rows)


def summary(item: Item, experiments: list[Experiment], scale: str) -> Table:
    """Of each arm the chosen rate, and there the mean step and the validation loss, as text."""
    (experiment,) = experiments
    loss = loss_of(experiment)
    rows, edges = [], []
    for optimizer, (method, suffix) in product(item.optimizers, item.methods.items()):
        runs = curve(item, experiment, optimizer + suffix)
        choice = chosen(experiment, optimizer + suffix)
        tried = sorted({*runs["rate"]})
        cells = [f"{tried[0]:g} to {tried[-1]:g} ({len(tried)})" if tried else MISSING]
        cells += [MISSING] * 3
        if choice is not None:
            best = runs[runs["rate"] == choice.rate]
            done = best["validation"][np.isfinite(best["validation"])]
            losses = f"{spread(done.tolist(), loss.digits)} ({len(done)})"
            losses += f", diverged {len(best) - len(done)}" if len(done) < len(best) else ""
            cells[1:] = [f"{choice.rate:g}", f"{choice.mean_step:.2f}", losses]
            edges += [optimizer + suffix] if choice.at_edge else []
        for by in _BY:
            numbers, cut = widths(runs, by, loss.within)
            cells.append(f"{'≥ ' if cut else ''}{spread(numbers, 1)}")
        group = OPTIMIZERS[optimizer] if suffix == next(iter(item.methods.values())) else ""
        rows.append([group, method, *cells])
    notes = [f"{conditions(experiment)}."] if experiment.runs else []
    notes += [
        f"Rates: of the grid {', '.join(f'{rate:g}' for rate in item.rates)} those that were run "
        f"(how many); chosen by the mean {loss.label} of seeds "
        f"{' and '.join(map(str, CHOOSERS))}. Seeds from {FRESH} on are compared, and none of "
        "these.",
        "Mean step: the mean of |applied update| / |base update| at the chosen rate; noise steps "
        "back as well, which counts as a step."
        if "mean_step" in experiment.task.COLUMNS
        else "Mean step: of |applied update| / |base update|, which is p with LRD.",
        f"Octaves: how far the rates, or mean steps, reach around each seed's best at which its "
        f"{loss.label} is within {loss.within:g} {loss.unit} of it; ≥: as far as the rates.",
    ]
    if edges:
        notes.append(f"The best rate is at the edge of the grid: {', '.join(edges)}.")
    return Table(
        item.name,
        f"{item.caption}, scale {scale}: {SEEDS}.",
        ["Base", "Arm", "Rates", "Best rate", "Mean step", loss.label.capitalize(), *_BY.values()],
        rows,
        [*notes, *notes_on_runs(item, experiments, scale)],
    )
