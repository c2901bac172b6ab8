"""Figures 8 and 9 from run folders: `python -m scripts.figures.voc figure8`.

Writes <figures>/<scale>/figure8.{png,pdf}, figure8-predictions.png if the runs saved predictions,
and <tables>/<scale>/figure8.{csv,md,tex}. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.record.atomic import write
from experiments.record.reader import RecordError
from scripts.figures.curves import LINES, STYLE, draw_curve, save
from scripts.figures.pictures import draw_predictions, pictures_of
from scripts.gather import (
    Arm,
    Experiment,
    ResultError,
    conditions,
    place,
    published,
    read_experiment,
    require_runs,
)
from scripts.tables.cells import MISSING, Table, latex, markdown


@dataclass(frozen=True)
class Item:
    """One of the paper's figures: its experiment, and the columns that it draws and tabulates."""

    experiment: str
    panels: dict[str, str]
    rows: dict[str, str]
    published: bool


ITEMS = {
    "figure8": Item(
        "pspnet",
        {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"},
        {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy", "train_loss": "training loss"},
        published=True,
    ),
    "figure9": Item(
        "ssd",
        {"train_loss": "training loss", "val_loss": "validation loss"},
        {"train_loss": "training loss", "val_loss": "validation loss", "map50": "mAP, IoU 0.5"},
        published=False,
    ),
}
ARMS = {"base": "adam", "LRD, p = 0.5": "adam+lrd0.5"}
STYLES = dict(zip(ARMS, LINES, strict=False))


def make_item(runs_dir: Path, figures: Path, tables: Path, scale: str, name: str) -> list[Path]:
    """Write curves, pictures and table of `figure8` or `figure9`, and return their paths.

    Raises ResultError if there is no finished run, or if runs cannot be compared.
    """
    item = ITEMS[name]
    experiment = read_experiment(runs_dir, scale, item.experiment, ARMS.values())
    require_runs([experiment], runs_dir, scale, sweep=name)
    figure = learning_curves(item, experiment, scale)
    paths = [figures / scale / f"{name}.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        save(figure, path)
    paths += make_pictures(item, experiment, figures / scale / f"{name}-predictions.png")
    table = summary(item, experiment, scale, name)
    files = {
        "csv": frame(item, experiment, scale).to_csv(
            index=False, float_format="%.4f", lineterminator="\n"
        ),
        "md": markdown(table),
        "tex": latex(table),
    }
    for kind, text in files.items():
        paths.append(tables / scale / f"{name}.{kind}")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        write(paths[-1], text.encode())
    return paths


def learning_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """Both methods' curves by epoch, a panel a column; dotted lines are published last values."""
    figure = Figure(figsize=(7.1, 3.1), layout="constrained")
    FigureCanvasAgg(figure)
    paper = _published(item) if scale == "paper" else {}
    for axes, (column, label) in zip(
        figure.subplots(1, len(item.panels)), item.panels.items(), strict=True
    ):
        for method, style in STYLES.items():
            arm = experiment[ARMS[method]]
            if arm.done:
                draw_curve(axes, arm, column, style)
            if (ARMS[method], column) in paper:
                level = paper[ARMS[method], column]
                axes.axhline(level, color=style["color"], linestyle=":", linewidth=0.8)
        axes.set_title(label)
        axes.grid(color="0.9", linewidth=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = [
        Line2D([], [], label=f"Adam, {method}: {_count(experiment[ARMS[method]])}", **style)
        for method, style in STYLES.items()
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=2, frameon=False, handlelength=3
    )
    caption = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed. {'Dotted: published. ' if paper else ''}{conditions(experiment)}."
    )
    figure.supxlabel("epoch\n\n" + textwrap.fill(caption, 115), fontsize=7)
    return figure


def _count(arm: Arm) -> str:
    parts = [f"n = {len(arm.done)}" if arm.done else "", arm.divergence()]
    return ", ".join(part for part in parts if part) or "not run"


def make_pictures(item: Item, experiment: Experiment, path: Path) -> list[Path]:
    """Write the picture grid of the first seed that both methods have; [] if there is none.

    What is missing for it is said on the standard error.
    """
    by_seed = {
        method: {run.seed: run for run in experiment[arm].done} for method, arm in ARMS.items()
    }
    common = sorted(set.intersection(*(set(runs) for runs in by_seed.values())))
    if not common:
        print(f"no seed has both methods: {path} is not made", file=sys.stderr)
        return []
    runs = {method: found[common[0]] for method, found in by_seed.items()}
    predictions, missing = pictures_of(runs)
    if missing:
        folders = ", ".join(map(str, missing))
        print(f"no predictions.pt in {folders}: {path} is not made", file=sys.stderr)
        return []
    run = next(iter(runs.values()))
    caption = f"{run.info['data']['name']}, first validation images, seed {run.seed}, last epoch"
    save(draw_predictions(run.config["task"], predictions, caption), path)
    return [path]


def _published(item: Item) -> dict[tuple[str, str], float]:
    """The paper's numbers by arm and metric."""
    if not item.published:
        return {}
    table = published("figure8").set_index(["arm", "metric"])["value"]
    return {(str(arm), str(metric)): value for (arm, metric), value in table.items()}


def values(arm: Arm, column: str, statistic: str) -> list[float]:
    """A column's last value, or its best one over the epochs, of each run that is done."""
    curves = arm.curves(column)
    if curves.empty:
        return []
    if statistic == "last":
        return curves.iloc[-1].tolist()
    return (curves.min() if column.endswith("loss") else curves.max()).tolist()


def frame(item: Item, experiment: Experiment, scale: str) -> pd.DataFrame:
    """A row per method and metric, with n = 0 for arms that were not run."""
    paper = _published(item)
    rows = []
    for method, name in ARMS.items():
        arm = experiment[name]
        for column in item.rows:
            row = {"scale": scale, "experiment": item.experiment, "arm": name, "metric": column}
            row |= {"method": method.split(",")[0].lower(), "n": len(arm.done)}
            row |= {"diverged": len(arm.diverged)}
            for statistic in ("last", "best"):
                numbers = values(arm, column, statistic)
                row[f"{statistic}_mean"] = np.mean(numbers) if numbers else np.nan
                row[f"{statistic}_std"] = np.std(numbers, ddof=1) if len(numbers) > 1 else np.nan
            rows.append(row | {"published": paper.get((name, column), np.nan)})
    return pd.DataFrame(rows)


def summary(item: Item, experiment: Experiment, scale: str, name: str) -> Table:
    """Every metric's last and best epoch, without and with LRD, beside the published values."""
    paper = _published(item)
    header = ["Data, net", "Metric", "Epoch", "base", "LRD"]
    rows = []
    for column, label in item.rows.items():
        validated = column != "train_loss"
        wanted = {"last": "last", **({"best": "best*"} if validated else {})}
        for statistic, word in wanted.items():
            cells = [cell(experiment[arm], column, statistic) for arm in ARMS.values()]
            rows.append(["", label, word, *cells])
        if any(metric == column for _, metric in paper):
            cells = [f"{paper[arm, column]:.3f}" for arm in ARMS.values()]
            rows.append(["", label, "published", *cells])
    rows[0][0] = experiment.title
    notes = [f"{conditions(experiment)}."]
    if repaired := _repairs(experiment):
        notes.append(repaired)
    notes.append(
        "* The mean over seeds of each run's best epoch, which is chosen on the validation set "
        "and therefore too good; the last epoch is the result."
    )
    notes.append(f"{MISSING}: not run, or diverged.")
    if unfinished := [place(run) for run in experiment.unfinished]:
        notes.append(f"Not counted, because they did not finish: {', '.join(unfinished)}.")
    caption = (
        f"{experiment.title} with Adam, without (base) and with learning rate dropout (LRD, p = "
        f"0.5), scale {scale}: mean ± sample standard deviation over seeds (number of seeds)."
    )
    return Table(name, caption, header, rows, notes)


def cell(arm: Arm, column: str, statistic: str) -> str:
    """`0.688 ± 0.004 (3)`, without ± for one run, or a dash for none; and what diverged."""
    numbers = values(arm, column, statistic)
    spread = f" ± {np.std(numbers, ddof=1):.3f}" if len(numbers) > 1 else ""
    text = f"{np.mean(numbers):.3f}{spread} ({len(numbers)})" if numbers else ""
    divergence = arm.divergence() if statistic == "last" else ""
    return ", ".join(part for part in (text, divergence) if part) or MISSING


def _repairs(experiment: Experiment) -> str:
    """What was repaired in the data, in words, or nothing."""
    found = experiment.runs[0].info["data"].get("repaired", {})
    words = [f"{key.replace('_', ' ')}: {count:,}" for key, count in found.items() if count]
    return f"Repaired in the data: {', '.join(words)}." if words else ""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=ITEMS)
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--figures", type=Path, default=Path("results/figures"))
    parser.add_argument("--tables", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    try:
        with mpl.rc_context(STYLE):
            paths = make_item(
                options.runs_dir, options.figures, options.tables, options.scale, options.figure
            )
    except (ResultError, RecordError) as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
