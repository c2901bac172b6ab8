"""Figures from run folders: `python -m scripts.figures figure5`, and the README's picture: `lrd`.

Writes <out>/<scale>/<figure>.{png,pdf}, and <out>/lrd.png. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
import textwrap
from itertools import chain
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.record.atomic import write
from experiments.record.reader import RecordError
from scripts.catalogue import FIGURES, OPTIMIZERS, Item
from scripts.figures.drawings import draw_lrd
from scripts.gather import (
    PAPER,
    Arm,
    Experiment,
    ResultError,
    conditions,
    read_experiment,
    require_runs,
)

LOSS, TRAIN, TEST = "train_loss", "train_accuracy", "test_accuracy"
LABELS = {LOSS: "training loss", TRAIN: "training accuracy (%)", TEST: "test accuracy (%)"}
# Okabe and Ito's colours, which no form of colour blindness confuses, each with a line of its own.
LINES = [
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": (0, (3, 1))},
    {"color": "#009E73", "linestyle": (0, (6, 1, 1, 1))},
    {"color": "#CC79A7", "linestyle": (0, (1, 1))},
    {"color": "#E69F00", "linestyle": (0, (8, 2))},
    {"color": "#56B4E9", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    {"color": "#000000", "linestyle": (0, (5, 2, 2, 2))},
]
AUTHORS = {"color": "0.35", "linestyle": ":", "linewidth": 0.9}  # the curve that they released
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
}


def draw_curve(axes: Axes, arm: Arm, column: str, style: dict[str, object]) -> None:
    """The mean over seeds of a metric by epoch, with a band from the least to the greatest."""
    curves = arm.curves(column)
    axes.plot(curves.index, curves.mean(axis=1), **style)
    if curves.shape[1] > 1:
        axes.fill_between(
            curves.index,
            curves.min(axis=1),
            curves.max(axis=1),
            color=style["color"],
            alpha=0.2,
            lw=0,
        )


def limits(arms: list[Arm], column: str) -> tuple[float, float]:
    """Limits of an axis: all of a loss, but of an accuracy not the steep first tenth.

    Of the accuracies, one in a hundred may lie below, so that a spike does not flatten the rest.
    """
    curves = [arm.curves(column) for arm in arms]
    loss = column == LOSS
    shown = [curve.iloc[0 if loss else len(curve) // 10 :].to_numpy().ravel() for curve in curves]
    found = np.concatenate(shown)
    if loss:
        return 0.7 * max(found.min(), 1e-8), 1.4 * found.max()  # drawn on a logarithmic axis
    low, high = np.quantile(found, 0.01), found.max()
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin


def seeds_line(arms: dict[str, Arm]) -> str:
    """How many seeds the curves of some methods are the mean of, and what is not there."""
    counts = sorted({len(arm.done) for arm in arms.values() if arm.done})
    parts = [f"n = {'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}"] if counts else []
    parts += [f"{method} {arm.divergence()}" for method, arm in arms.items() if arm.diverged]
    missing = [method for method, arm in arms.items() if not arm.done and not arm.diverged]
    if len(missing) == len(arms):
        parts.append("not run")
    elif missing:  # a panel's title has room for one name
        few = missing[0] if len(missing) == 1 else f"{len(missing)} of {len(arms)}"
        parts.append(f"not run: {few}")
    return "\n".join(parts)


def draw_panel(axes: Axes, arms: dict[str, Arm], column: str) -> None:
    """The methods' curves of one metric, or the words that there are none."""
    for arm, style in zip(arms.values(), LINES, strict=False):
        if arm.done:
            draw_curve(axes, arm, column, style)
    if not any(arm.done for arm in arms.values()):
        word = "diverged" if any(arm.diverged for arm in arms.values()) else "not run"
        axes.text(0.5, 0.3, word, transform=axes.transAxes, ha="center", va="center", color="0.4")
    axes.grid(color="0.9", linewidth=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def learning_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """Figures 5 to 7 and 10 to 13: metrics by epoch, a panel for each optimizer and metric.

    The losses of a row share their axis; accuracies have one each, so that an optimizer that
    fails does not flatten the others.
    """
    arms = {
        optimizer: {
            method: experiment[optimizer + suffix] for method, suffix in item.methods.items()
        }
        for optimizer in item.optimizers
    }
    cells = [[(o, metric) for o in item.optimizers] for metric in item.columns]
    if not item.optimizers_across:
        cells = [list(row) for row in zip(*cells, strict=True)]
    height = 1.35 * len(cells) + 1.5 if item.optimizers_across else 1.9 * len(cells) + 1.4
    figure = Figure(figsize=(7.1, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cells), len(cells[0]), sharex=True, squeeze=False)
    for axes, (optimizer, metric) in zip(grid.flat, chain(*cells), strict=True):
        draw_panel(axes, arms[optimizer], metric)
        everyones = [arm for methods in arms.values() for arm in methods.values() if arm.done]
        own = [arm for arm in arms[optimizer].values() if arm.done]
        if metric == LOSS:
            axes.set_yscale("log")
        if shown := everyones if metric == LOSS else own:
            axes.set_ylim(limits(shown, metric))
        else:
            axes.set_yticks([], labels=[])
        if item.optimizers_across and metric == LOSS and optimizer != item.optimizers[0]:
            axes.tick_params(labelleft=False)
    _name_panels(grid, cells, arms, item.optimizers_across)
    # a smaller net's or a shorter training's curves have nothing in common with it
    released = item.name == "table1" and experiment.name == "cifar10" and scale == "paper"
    _legend(figure, item, _draw_released(grid, item, experiment) if released else [])
    caption = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed. Accuracy axes leave out the steep start. {conditions(experiment)}."
    )
    figure.supxlabel("epoch\n\n" + textwrap.fill(caption, 115), fontsize=7)
    return figure


def _name_panels(grid: np.ndarray, cells: list, arms: dict, optimizers_across: bool) -> None:
    names = {
        optimizer: f"{OPTIMIZERS[optimizer]}\n{seeds_line(arms[optimizer])}" for optimizer in arms
    }
    if optimizers_across:
        for axes, (optimizer, _) in zip(grid[0], cells[0], strict=True):
            axes.set_title(names[optimizer])
        for axes, row in zip(grid[:, 0], cells, strict=True):
            axes.set_ylabel(LABELS[row[0][1]])
        return
    for row, line in zip(grid, cells, strict=True):
        for axes, (optimizer, metric) in zip(row, line, strict=True):
            axes.set_ylabel(LABELS[metric])
            axes.set_title(names[optimizer].replace("\n", ", "))


def _legend(figure: Figure, item: Item, more: list[Line2D]) -> None:
    """One legend for all panels."""
    lines = zip(item.methods, LINES, strict=False)
    handles = [Line2D([], [], label=method, **style) for method, style in lines] + more
    long = sum(len(str(each.get_label())) for each in handles) > 60
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), 3 if long else 4),
        frameon=False,
        handlelength=4,
    )


def _draw_released(grid: np.ndarray, item: Item, experiment: Experiment) -> list[Line2D]:
    """Figure 6: the authors' curve in SGDM's column, over our epochs; returns its legend entry."""
    released = pd.read_csv(PAPER / "authors_curve.csv").set_index("epoch")
    epochs = max((run.config["epochs"] for run in experiment.runs), default=len(released))
    across = released.index * (epochs / len(released))
    for row, metric in zip(grid, item.columns, strict=True):
        axes = row[item.optimizers.index("sgdm")]
        axes.plot(across, released[metric], zorder=1, **AUTHORS)
        values = released[metric].iloc[0 if metric == LOSS else len(released) // 10 :]
        low, high = axes.get_ylim()
        for each in row if metric == LOSS else [axes]:
            each.set_ylim(min(low, 0.7 * values.min()), max(high, 1.02 * values.max()))
    label = "SGDM+LRD as the authors released it (full size, its 200 epochs over ours)"
    return [Line2D([], [], label=label, **AUTHORS)]


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its suffix names, without date and version."""
    kind = path.suffix[1:]
    metadata = {
        "png": {"Software": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }[kind]
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=200, metadata=metadata)
    figure.set_layout_engine(
        "none"
    )  # the next format has the same layout, and is not laid out anew
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content.getvalue())


def make_curves(
    name: str, runs_dir: Path, out: Path, scale: str, experiment: str | None
) -> list[Path]:
    """Write a figure as png and pdf, and return their paths.

    Curves of another experiment than the figure's go to <name>-<experiment>.
    """
    item = FIGURES[name]
    stem, of = name, item.figures[name]
    if experiment not in (None, of):
        stem, of = f"{name}-{experiment}", experiment
    read = read_experiment(runs_dir, scale, of, item.arms())
    require_runs([read], runs_dir, scale, item.sweep)
    figure = learning_curves(item, read, scale)
    paths = [out / scale / f"{stem}.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        save(figure, path)
    return paths


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "figure",
        choices=[*(n for n, each in FIGURES.items() if each.layout == "optimizers"), "lrd"],
    )
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--experiment", help="another one's curves instead")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/figures"))
    options = parser.parse_args(arguments)
    places = options.runs_dir, options.out
    try:
        with mpl.rc_context(STYLE):
            if options.figure == "lrd":
                paths = [options.out / "lrd.png"]
                save(draw_lrd(), paths[0])
            else:
                paths = make_curves(options.figure, *places, options.scale, options.experiment)
    except (ResultError, RecordError) as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
