"""Learning curves with a panel for each optimizer and column: Figures 5 to 7 and 10 to 13."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from experiments.tasks import Column, required_columns
from scripts.figures.style import (
    HALF_RATE_LINE,
    caption,
    draw_curve,
    epoch_ticks,
    legend,
    line,
    panels,
)
from scripts.gather import PAPER, Arm, Experiment, conditions, names_left_out
from scripts.item import HALF_LABEL, HALF_RATE, OPTIMIZERS, Item
from scripts.tables.formats import span

AUTHORS = {"color": "0.35", "linestyle": ":", "linewidth": 0.9}  # the curve that they released
Arms = dict[str, dict[str, Arm]]  # by optimizer and method
Range = tuple[float, float]  # the lower and upper end of an axis
Cells = list[list[tuple[str, str]]]  # optimizer and column of each panel, in rows


def learning_curves(item: Item, experiment: Experiment, scale: str, released: bool) -> Figure:
    """Takes an item and the runs of one of its experiments, returns its curves by epoch.

    Optimizers share the vertical axes of a column, as far as `shared` says. `released` adds the
    curve that the paper's authors released.
    """
    columns, names = experiment.task.COLUMNS, item.columns
    if not {*names} <= columns.keys():  # an experiment of another task than the item's
        names = required_columns(experiment.runs[0].config["task"])
    methods = methods_of(item, experiment)
    arms = {
        optimizer: {method: experiment[optimizer + suffix] for method, suffix in methods.items()}
        for optimizer in item.optimizers
    }
    cells = [[(optimizer, name) for optimizer in item.optimizers] for name in names]
    if not item.optimizers_across:
        cells = [list(row) for row in zip(*cells, strict=True)]
    height = 1.35 * len(cells) + 1.5 if item.optimizers_across else 1.9 * len(cells) + 1.4
    figure, grid = panels(len(cells), len(cells[0]), height, sharex=True)
    styles = line_styles(methods)
    scales = {name: shared(arms, name, columns[name]) for name in names}
    for axes, (optimizer, name) in zip(grid.flat, chain(*cells), strict=True):
        draw_panel(axes, arms[optimizer], name, styles)
        _scale(axes, scales[name].get(optimizer), columns[name])
    handles = [
        Line2D([], [], label=method, **style)
        for method, style in styles.items()
        if any(of[method].done for of in arms.values())
    ]
    epochs = max(run.config["epochs"] for run in experiment.runs)
    if released:
        handles.append(_draw_released(grid, item, columns, epochs))
    for axes in grid.flat:
        _set_ticks(axes, epochs, 5 if len(cells[0]) < 4 else 2)
    seeds = {optimizer: seeds_line(of, item.methods) for optimizer, of in arms.items()}
    _name_panels(grid, cells, seeds, columns, item.optimizers_across)
    long = sum(len(str(handle.get_label())) for handle in handles) > 60
    legend(figure, handles, min(len(handles), 3 if long else 4), handlelength=4)
    steep = not all(columns[name].falls for name in names)
    rest = f"{_exceptions(arms, scales, steep)}{names_left_out(experiment)}"
    caption(figure, about(experiment, scale) + rest, "epoch")
    return figure


def about(experiment: Experiment, scale: str) -> str:
    """The sentences with which a caption begins: what was run, and what lines and bands are."""
    return (
        f"{experiment.title}, scale {scale}; {conditions(experiment)}. Lines: mean over n seeds; "
        "bands: least to greatest seed."
    )


def _exceptions(arms: Arms, scales: dict[str, dict[str, Range]], steep: bool) -> str:
    """What the axes leave out, and which optimizers have axes of their own or the halved rate."""

    def names(optimizers: list[str]) -> str:
        return ", ".join(OPTIMIZERS.get(name, name) for name in optimizers)

    common = [max(ranges.values()) for ranges in scales.values() if ranges]
    own = [
        name
        for name in arms
        if any(name in of and of[name] not in common for of in scales.values())
    ]
    apart = f"; {names(own)} {'has its' if len(own) == 1 else 'have their'} own" if own else ""
    halved = [name for name, of in arms.items() if HALF_LABEL in of and of[HALF_LABEL].done]
    only = f" At half the rate: {names(halved)} only." if 0 < len(halved) < len(arms) else ""
    start = f" Accuracy axes leave out the steep start{apart}." if steep else ""
    return start + only


def methods_of(item: Item, experiment: Experiment) -> dict[str, str]:
    """The suffixes of the item's methods by label, and of the base at half the rate if it was run.

    Tables show the item's own methods alone.
    """
    ran = any(experiment[optimizer + HALF_RATE].done for optimizer in item.optimizers)
    beside = ran and HALF_RATE not in item.methods.values()
    return item.methods | ({HALF_LABEL: HALF_RATE} if beside else {})


def line_styles(methods: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The style of each method's line, by label."""
    return {
        method: HALF_RATE_LINE if suffix == HALF_RATE else line(number)
        for number, (method, suffix) in enumerate(methods.items())
    }


def draw_panel(axes: Axes, arms: dict[str, Arm], name: str, styles: dict[str, Any]) -> None:
    """The methods' curves of one column, or the words that there are none."""
    for method, arm in arms.items():
        if arm.done:
            draw_curve(axes, arm.curves(name), styles[method])
    if not any(arm.done for arm in arms.values()):
        word = "diverged" if any(arm.diverged for arm in arms.values()) else "not run"
        axes.text(0.5, 0.3, word, transform=axes.transAxes, ha="center", va="center", color="0.4")


def _scale(axes: Axes, ends: Range | None, column: Column) -> None:
    """The vertical axis of a panel, or none; losses have a logarithmic one."""
    if ends is None:
        axes.set_yticks([], labels=[])
        return
    axes.set_yscale("log" if column.falls else "linear")
    axes.set_ylim(ends)


def _set_ticks(axes: Axes, epochs: int, parts: int) -> None:
    """Epochs with the last; on a logarithmic axis of less than two decades few plain decimals."""
    epoch_ticks(axes, epochs, parts)
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high < 100 * low:
        few = MaxNLocator(4) if high < 10 * low else LogLocator(subs=(1, 3))
        axes.yaxis.set(major_locator=few, minor_locator=NullLocator(), major_formatter="{x:g}")


def shared(arms: Arms, name: str, column: Column) -> dict[str, Range]:
    """The limits of a column's axes by optimizer: the same for all, of those with curves.

    But an optimizer whose accuracies lie far below, ten times as far as the best one's curves
    range, has its own, so that it does not flatten the others.
    """
    curves = {
        optimizer: [arm.curves(name) for arm in methods.values() if arm.done]
        for optimizer, methods in arms.items()
    }
    ranges = {optimizer: limits(of, column) for optimizer, of in curves.items() if of}
    if not ranges:
        return {}
    low, high = max(ranges.values())
    least = -np.inf if column.falls else high - 10 * (high - low)
    near = [ends for ends in ranges.values() if ends[0] >= least]
    common = min(low for low, _ in near), max(high for _, high in near)
    return {optimizer: common if ends in near else ends for optimizer, ends in ranges.items()}


def limits(curves: list[np.ndarray], column: Column) -> Range:
    """Limits of an axis: all of a loss, but of an accuracy not the steep first tenth.

    Of the accuracies, one in a hundred may lie below, so that a spike does not flatten the rest.
    """
    start = 0 if column.falls else 1 / 10
    shown = [curve[int(start * len(curve)) :].ravel() for curve in curves]
    numbers = np.concatenate(shown)
    numbers = numbers[~np.isnan(numbers)]
    if column.falls:
        low, high = max(numbers.min(), 1e-8), max(numbers.max(), 1e-8)
        margin = max((high / low) ** 0.05, 1.02)
        return low / margin, high * margin
    low, high = np.quantile(numbers, 0.01), numbers.max()
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin


def seeds_line(arms: dict[str, Arm], methods: Collection[str]) -> str:
    """How many seeds an optimizer's curves are the mean of, and which of the methods lack runs."""
    counts = [len(arm.done) for arm in arms.values() if arm.done]
    words = [f"n = {span(counts)}"] if counts else []
    words += [f"{method} {arm.divergence()}" for method, arm in arms.items() if arm.diverged]
    missing = [name for name in methods if not arms[name].done and not arms[name].diverged]
    if len(missing) == len(methods):
        words.append("not run")
    elif missing:  # a panel's title has room for one short name
        short = len(missing) == 1 and len(missing[0]) < 16
        few = missing[0] if short else f"{len(missing)} of {len(methods)}"
        words.append(f"not run: {few}")
    return "\n".join(words)


def _name_panels(
    grid: np.ndarray, cells: Cells, seeds: dict[str, str], columns: dict[str, Column], across: bool
) -> None:
    """Optimizers as titles, columns as labels of the vertical axes."""
    titles = {
        optimizer: f"{OPTIMIZERS.get(optimizer, optimizer)}\n{words}"
        for optimizer, words in seeds.items()
    }
    lines = max(title.count("\n") for title in titles.values())
    for number, (row, names) in enumerate(zip(grid, cells, strict=True)):
        for axes, (optimizer, name) in zip(row, names, strict=True):
            title = titles[optimizer]
            if not across:
                axes.set_title(title.replace("\n", ", "))
            elif number == 0:  # of equal height
                axes.set_title(title + "\n" * (lines - title.count("\n")))
            if not across or axes is row[0]:
                axes.set_ylabel(columns[name].label)
            elif axes.get_ylim() == row[0].get_ylim():
                axes.tick_params(labelleft=False)


def _draw_released(grid: np.ndarray, item: Item, columns: dict[str, Column], epochs: int) -> Line2D:
    """Draw the authors' curve in SGDM's panels, over our epochs; returns its legend entry."""
    released = pd.read_csv(PAPER / "authors_curve.csv").set_index("epoch")
    across = released.index * (epochs / len(released))
    for row, name in zip(grid, item.columns, strict=True):
        axes = row[item.optimizers.index("sgdm")]
        axes.plot(across, released[name], zorder=1, **AUTHORS)
        values = released[name].iloc[0 if columns[name].falls else len(released) // 10 :]
        low, high = axes.get_ylim()
        for sharing in [panel for panel in row if panel.get_ylim() == (low, high)]:
            sharing.set_ylim(min(low, 0.7 * values.min()), max(high, 1.02 * values.max()))
    label = "SGDM+LRD as the authors released it (full size, its 200 epochs over ours)"
    return Line2D([], [], label=label, **AUTHORS)
