"""LRD beside the base at its mean step: results by the mean step, and how far they are apart."""

from __future__ import annotations

from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from experiments.tasks import Column
from scripts.figures.curves import about
from scripts.figures.style import HALF_RATE_LINE, caption, legend, line, panels
from scripts.gather import Experiment, names_left_out
from scripts.item import STEP_RATES, Item, step_arm
from scripts.tables.cells import values
from scripts.verdicts.claim import Pair
from scripts.verdicts.compare import measure
from scripts.verdicts.intervals import LABEL, Paired, paired

_MARGINS = {"test_accuracy": 0.1, "test_loss": 0.005}  # as in conf/claims.yaml
_KEEP_PROB = 0.5
_STUDENT = {"color": "black", "linewidth": 2.6, "solid_capstyle": "butt"}
Named = tuple[str, Column]
_ARMS = {
    "lrd0.5": {**line(0), "marker": "o", "markersize": 3.5},
    "lr0.5": {**HALF_RATE_LINE, "marker": "s", "markersize": 3, "markerfacecolor": "white"},
}


def step_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """Takes the item's runs, returns results over p times the rate, and below them LRD's less the
    base's, with the interval and the margin."""
    figure, grid = panels(2, len(_MARGINS), 4.7, sharex=True)
    for (name, margin), (results, differences) in zip(_MARGINS.items(), grid.T, strict=True):
        column = experiment.task.COLUMNS[name]
        for method, style in _ARMS.items():
            _draw_arm(results, experiment, (name, column), method, style)
        _draw_differences(differences, experiment, (name, column), margin)
        results.set_title("mean of the last ten epochs")
        results.set_ylabel(column.label)
        differences.set_ylabel(f"LRD − half the rate ({column.unit.strip()})")
        _scale(results), _scale(differences)
    handles = [
        Line2D([], [], label="LRD, p = 0.5", **_ARMS["lrd0.5"]),
        Line2D([], [], label="base at half the rate", **_ARMS["lr0.5"]),
        Line2D([], [], color="black", marker="|", label=LABEL),
        Line2D([], [], label="Student's interval", **_STUDENT),
        Patch(color="0.9", label="margin: differences that do not matter"),
    ]
    legend(figure, handles, 2)
    text = f"{about(experiment, scale)} Weight decay 0.0005.{names_left_out(experiment)}"
    caption(figure, text, "mean step: p × learning rate")
    return figure


def _draw_arm(axes: Axes, experiment: Experiment, of: Named, method: str, style: dict) -> None:
    """An arm's mean over seeds at each rate, with a band from the least to the greatest."""
    at = {rate: values(experiment[step_arm(method, rate)], *of, "last10") for rate in STEP_RATES}
    points = {rate * _KEEP_PROB: numbers for rate, numbers in at.items() if numbers}
    axes.plot([*points], [fmean(numbers) for numbers in points.values()], **style)
    ends = [*map(min, points.values())], [*map(max, points.values())]
    axes.fill_between([*points], *ends, color=style["color"], alpha=0.15, lw=0)


def _draw_differences(axes: Axes, experiment: Experiment, of: Named, margin: float) -> None:
    axes.axhspan(-margin, margin, color="0.9", zorder=0)
    axes.axhline(0, color="0.25", linewidth=0.8)
    reach = 2 * margin
    for rate in STEP_RATES:
        arms = (step_arm("lrd0.5", rate),), (step_arm("lr0.5", rate),)
        pair = Pair(experiment.name, f"last10:{of[0]}", of[1], 1, *arms)
        result: Paired = paired(measure(pair, experiment).differences)
        x = rate * _KEEP_PROB
        text = f"n = {result.n}" if result.n else "not run"
        axes.annotate(text, (x, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top",
                      fontsize=7)  # fmt: skip
        axes.plot(x, result.mean, "o", color="black", markersize=3.5)
        axes.plot([x, x], [result.low, result.high], "_-", color="black", linewidth=0.9)
        axes.plot([x, x], [result.student_low, result.student_high], **_STUDENT)
        reach = float(np.nanmax([reach, *np.abs((result.mean, result.low, result.high))]))
    axes.set_ylim(-1.3 * reach, 1.3 * reach)  # below the numbers of seeds


def _scale(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(STEP_RATES[0] * _KEEP_PROB / 1.2, STEP_RATES[-1] * _KEEP_PROB * 1.2)
    axes.set_xticks([rate * _KEEP_PROB for rate in STEP_RATES])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="0.9", linewidth=0.5)
