"""Tables with a column for each optimizer and a row for each method, as the paper's Table 1."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from scripts.gather import Experiment, conditions, paper_values
from scripts.item import OPTIMIZERS, Item
from scripts.tables.cells import SEEDS, best_note, cell, far_seeds, mean_std, notes_on_runs, values
from scripts.tables.formats import MISSING, Table, capital

LABELS = {"last": "last epoch", "best": "best epoch*", "last10": "mean of last 10"}
LOSS = "test_loss"  # whose last value has rows below results that are no losses


def frame(item: Item, experiments: list[Experiment], scale: str) -> pd.DataFrame:
    """A row per experiment, optimizer and method, with n = 0 for arms that were not run."""
    rows = []
    for experiment in experiments:
        paper, result = paper_values(item, experiment.name), experiment.task.RESULT
        for optimizer, (method, suffix) in product(item.optimizers, item.methods.items()):
            name = optimizer + suffix
            arm = experiment[name]
            row = {
                "scale": scale,
                "experiment": experiment.name,
                "optimizer": optimizer,
                "method": method.lower(),
                "arm": name,
                "n": len(arm.done),
                "diverged": len(arm.diverged),
                "seeds": " ".join(str(run.seed) for run in arm.done),
                "epochs": arm.done[0].config["epochs"] if arm.done else None,
            }
            for statistic in LABELS:
                numbers = values(arm, result, experiment.result, statistic)
                row |= mean_std(numbers, statistic)
            if _has_loss(experiment):
                loss = values(arm, LOSS, experiment.task.COLUMNS[LOSS], "last")
                row |= mean_std(loss, LOSS)
            rows.append(row | {"published": paper.get((name, result), np.nan)})
    return pd.DataFrame(rows).astype({"epochs": "Int64"})


def summary(item: Item, experiments: list[Experiment], scale: str) -> Table:
    """The experiments' results as text, with the conditions of their runs as notes."""
    column = experiments[0].result
    words = column.label.replace(" (%)", " in percent")
    caption = item.caption.format(result=words, Result=words.capitalize())
    notes = [f"{shown.title}: {conditions(shown)}." for shown in experiments if shown.runs]
    chosen_on = "test" if experiments[0].task.RESULT.startswith("test_") else "validation"
    notes.append(best_note(chosen_on, "low" if column.falls else "high"))
    notes += [note for experiment in experiments for note in _far(item, experiment)]
    if any(paper_values(item, experiment.name) for experiment in experiments):
        number = item.published.removeprefix("table")
        notes.append(f"published: the paper's Table {number}, at the paper's scale.")
    notes += notes_on_runs(item, experiments, scale)
    names = [OPTIMIZERS.get(name, name) for name in item.optimizers]
    return Table(
        item.name,
        f"{capital(caption)}, scale {scale}: {SEEDS}.",
        ["Data, net", "Epoch", "Method", *names],
        [row for experiment in experiments for row in _rows(item, experiment)],
        notes,
    )


def _far(item: Item, experiment: Experiment) -> Iterator[str]:
    """A note that names the seeds far from their arm's others, if there are any."""
    result = experiment.task.RESULT, experiment.result
    if far := [seed for name in item.arms() for seed in far_seeds(experiment[name], *result)]:
        rule = "far from their arm's others (modified z-score above 3.5, of five seeds or more)"
        yield f"{experiment.title}: in the means, but {rule}: {', '.join(far)}."


def _has_loss(experiment: Experiment) -> bool:
    column = experiment.task.COLUMNS.get(LOSS)
    return column is not None and not column.optional and experiment.task.RESULT != LOSS


def _rows(item: Item, experiment: Experiment) -> Iterator[list[str]]:
    """A row for each method, of each statistic and of the published numbers where there are some.

    The last test loss follows. An experiment without runs has the last epoch's and the published.
    The mean of the last ten epochs is left out if all runs are too short for it.
    """
    name, columns = experiment.task.RESULT, experiment.task.COLUMNS
    paper = paper_values(item, experiment.name)
    parts = [(LABELS["last"], name, "last")]
    parts += [("published", name, "published")] if paper else []
    parts += [(LABELS["best"], name, "best")] if experiment.runs else []
    if any(values(arm, name, experiment.result, "last10") for arm in experiment.arms.values()):
        parts.append((LABELS["last10"], name, "last10"))
    if experiment.runs and _has_loss(experiment):
        parts.append((f"{columns[LOSS].label}, last", LOSS, "last"))
    title = experiment.title
    for label, of, statistic in parts:
        column = columns[of]
        for method, suffix in item.methods.items():
            names = [optimizer + suffix for optimizer in item.optimizers]
            if statistic == "published":
                numbers = [paper.get((arm, name)) for arm in names]
                if not any(numbers):
                    continue
                cells = [f"{number:.{column.digits}f}" if number else MISSING for number in numbers]
            else:
                cells = [cell(experiment[arm], of, column, statistic) for arm in names]
            yield [title, label, method, *cells]
            title = label = ""
