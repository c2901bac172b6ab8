"""Tables with a column for each method and rows for each metric, of Figures 8 and 9."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scripts.gather import Experiment, conditions, paper_values
from scripts.item import OPTIMIZERS, Item
from scripts.tables.cells import SEEDS, best_note, cell, mean_std, notes_on_runs, values
from scripts.tables.formats import Table


def frame(item: Item, experiments: list[Experiment], scale: str) -> pd.DataFrame:
    """A row per method and metric, with n = 0 for arms that were not run."""
    (experiment,) = experiments
    paper = paper_values(item, experiment.name)
    rows = []
    for method, name in _arms(item).items():
        arm = experiment[name]
        for metric in _metrics(item, experiment):
            row = {"scale": scale, "experiment": experiment.name, "arm": name, "metric": metric}
            row |= {"method": method.lower(), "n": len(arm.done), "diverged": len(arm.diverged)}
            for statistic in ("last", "best"):
                numbers = values(arm, metric, experiment.task.COLUMNS[metric], statistic)
                row |= mean_std(numbers, statistic)
            rows.append(row | {"published": paper.get((name, metric), np.nan)})
    return pd.DataFrame(rows)


def summary(item: Item, experiments: list[Experiment], scale: str) -> Table:
    """Every metric's last and best epoch by method, beside the published values."""
    (experiment,) = experiments
    paper, arms = paper_values(item, experiment.name), _arms(item)
    rows = []
    for metric in _metrics(item, experiment):
        column = experiment.task.COLUMNS[metric]
        labels = {"last": "last"} if metric == "train_loss" else {"last": "last", "best": "best*"}
        for statistic, label in labels.items():
            cells = [cell(experiment[arm], metric, column, statistic) for arm in arms.values()]
            rows.append(["", column.label, label, *cells])
        if any((arm, metric) in paper for arm in arms.values()):
            cells = [f"{paper[arm, metric]:.{column.digits}f}" for arm in arms.values()]
            rows.append(["", column.label, "published", *cells])
    rows[0][0] = experiment.title
    notes = [f"{conditions(experiment)}.", *_repairs(experiment), best_note("validation", "good")]
    names = " and ".join(OPTIMIZERS[name] for name in item.optimizers)
    return Table(
        item.name,
        f"{experiment.title} with {names}, {item.caption}, scale {scale}: {SEEDS}.",
        ["Data, net", "Metric", "Epoch", *arms],
        rows,
        [*notes, *notes_on_runs(item, experiments, scale)],
    )


def _arms(item: Item) -> dict[str, str]:
    """The arms by the first word of their methods: `LRD` of `LRD, p = 0.5`."""
    labels = (label.partition(",")[0] for label in item.methods)
    return dict(zip(labels, item.arms(), strict=True))


def _metrics(item: Item, experiment: Experiment) -> list[str]:
    """The columns that the item's curves show, and then the task's others."""
    return list(dict.fromkeys((*item.columns, *experiment.task.COLUMNS)))


def _repairs(experiment: Experiment) -> list[str]:
    """A note of what was repaired in the data, if anything was."""
    counts = experiment.runs[0].info["data"].get("repaired", {})
    words = [f"{key.replace('_', ' ')}: {count:,}" for key, count in counts.items() if count]
    return [f"Repaired in the data: {', '.join(words)}."] if words else []
