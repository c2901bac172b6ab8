"""Learning curves with a panel for each optimizer and column: Figures 5 to 7 and 10 to 13."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.tasks import Column
from scripts.catalogue import OPTIMIZERS, Item
from scripts.figures.style import caption, draw_curve, legend, line, panels
from scripts.gather import PAPER, Arm, Experiment, conditions, left_out

AUTHORS = {"color": "0.35", "linestyle": ":", "linewidth": 0.9}  # the curve that they released
Arms = dict[str, dict[str, Arm]]  # by optimizer and method
Cells = list[list[tuple[str, str]]]  # optimizer and column of each panel, in rows


def learning_curves(item: Item, experiment: Experiment, scale: str, released: bool) -> Figure:
    """Takes an item and the runs of one of its experiments, returns its curves by epoch.

    The losses of a row share their axis; accuracies have one each, so that an optimizer that
    fails does not flatten the others. `released` adds the curve that the paper's authors released.
    """
    columns = experiment.task.COLUMNS
    arms = {
        optimizer: {
            method: experiment[optimizer + suffix] for method, suffix in item.methods.items()
        }
        for optimizer in item.optimizers
    }
    cells = [[(optimizer, name) for optimizer in item.optimizers] for name in item.columns]
    if not item.optimizers_across:
        cells = [list(row) for row in zip(*cells, strict=True)]
    height = 1.35 * len(cells) + 1.5 if item.optimizers_across else 1.9 * len(cells) + 1.4
    figure, grid = panels(len(cells), len(cells[0]), height, sharex=True)
    for axes, (optimizer, name) in zip(grid.flat, chain(*cells), strict=True):
        draw_panel(axes, arms[optimizer], name)
        sharing = arms.values() if columns[name].falls else [arms[optimizer]]
        _scale(axes, [arm for methods in sharing for arm in methods.values()], name, columns[name])
        if item.optimizers_across and columns[name].falls and optimizer != item.optimizers[0]:
            axes.tick_params(labelleft=False)
    _name_panels(grid, cells, arms, columns, item.optimizers_across)
    handles = [
        Line2D([], [], label=method, **line(number)) for number, method in enumerate(item.methods)
    ]
    if released:
        handles.append(_draw_released(grid, item, experiment))
    long = sum(len(str(handle.get_label())) for handle in handles) > 60
    legend(figure, handles, min(len(handles), 3 if long else 4), handlelength=4)
    text = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed. Accuracy axes leave out the steep start. {conditions(experiment)}."
        f"{left_out(experiment)}"
    )
    caption(figure, text, "epoch")
    return figure


def draw_panel(axes: Axes, arms: dict[str, Arm], name: str) -> None:
    """The methods' curves of one column, or the words that there are none."""
    for number, arm in enumerate(arms.values()):
        if arm.done:
            draw_curve(axes, arm.curves(name), line(number))
    if not any(arm.done for arm in arms.values()):
        word = "diverged" if any(arm.diverged for arm in arms.values()) else "not run"
        axes.text(0.5, 0.3, word, transform=axes.transAxes, ha="center", va="center", color="0.4")
    axes.grid(color="0.9", linewidth=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def _scale(axes: Axes, arms: list[Arm], name: str, column: Column) -> None:
    """The limits of a vertical axis that shows some arms; losses have a logarithmic one."""
    if column.falls:
        axes.set_yscale("log")
    if curves := [arm.curves(name) for arm in arms if arm.done]:
        axes.set_ylim(limits(curves, column))
    else:
        axes.set_yticks([], labels=[])


def limits(curves: list[pd.DataFrame], column: Column) -> tuple[float, float]:
    """Limits of an axis: all of a loss, but of an accuracy not the steep first tenth.

    Of the accuracies, one in a hundred may lie below, so that a spike does not flatten the rest.
    """
    start = 0 if column.falls else 1 / 10
    shown = [curve.iloc[int(start * len(curve)) :].to_numpy().ravel() for curve in curves]
    numbers = np.concatenate(shown)
    if column.falls:
        return 0.7 * max(numbers.min(), 1e-8), 1.4 * max(numbers.max(), 1e-8)
    low, high = np.quantile(numbers, 0.01), numbers.max()
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin


def seeds_line(arms: dict[str, Arm]) -> str:
    """How many seeds the curves of some methods are the mean of, and which methods lack runs."""
    counts = sorted({len(arm.done) for arm in arms.values() if arm.done})
    words = [f"n = {'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}"] if counts else []
    words += [f"{method} {arm.divergence()}" for method, arm in arms.items() if arm.diverged]
    missing = [method for method, arm in arms.items() if not arm.done and not arm.diverged]
    if len(missing) == len(arms):
        words.append("not run")
    elif missing:  # a panel's title has room for one name
        few = missing[0] if len(missing) == 1 else f"{len(missing)} of {len(arms)}"
        words.append(f"not run: {few}")
    return "\n".join(words)


def _name_panels(
    grid: np.ndarray, cells: Cells, arms: Arms, columns: dict[str, Column], across: bool
) -> None:
    """Optimizers as titles, columns as labels of the vertical axes."""
    titles = {
        optimizer: f"{OPTIMIZERS.get(optimizer, optimizer)}\n{seeds_line(methods)}"
        for optimizer, methods in arms.items()
    }
    for number, (row, names) in enumerate(zip(grid, cells, strict=True)):
        for axes, (optimizer, name) in zip(row, names, strict=True):
            if not across:
                axes.set_title(titles[optimizer].replace("\n", ", "))
            elif number == 0:
                axes.set_title(titles[optimizer])
            if not across or axes is row[0]:
                axes.set_ylabel(columns[name].label)


def _draw_released(grid: np.ndarray, item: Item, experiment: Experiment) -> Line2D:
    """Draw the authors' curve in SGDM's panels, over our epochs; returns its legend entry."""
    released = pd.read_csv(PAPER / "authors_curve.csv").set_index("epoch")
    epochs = max((run.config["epochs"] for run in experiment.runs), default=len(released))
    across = released.index * (epochs / len(released))
    for row, name in zip(grid, item.columns, strict=True):
        falls = experiment.task.COLUMNS[name].falls
        axes = row[item.optimizers.index("sgdm")]
        axes.plot(across, released[name], zorder=1, **AUTHORS)
        values = released[name].iloc[0 if falls else len(released) // 10 :]
        low, high = axes.get_ylim()
        for sharing in row if falls else [axes]:
            sharing.set_ylim(min(low, 0.7 * values.min()), max(high, 1.02 * values.max()))
    label = "SGDM+LRD as the authors released it (full size, its 200 epochs over ours)"
    return Line2D([], [], label=label, **AUTHORS)
