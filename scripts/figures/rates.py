"""Curves of loss by learning rate and by mean step, a row of panels for each base."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from scripts.figures.style import caption, legend, line, panels
from scripts.gather import Experiment, conditions
from scripts.item import OPTIMIZERS, Item, ResultError
from scripts.rates import Loss, curve, loss_of
from scripts.tables.formats import span

_MARKERS = "os^Dv<P>"
_BY = {"rate": "learning rate", "step": "mean step: rate × |applied update| / |base update|"}


def rate_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """Takes an item with a grid of rates, returns what it chooses by, over rate and mean step.

    If only the step mattered, the curves of the right panels would lie on each other.
    """
    loss = loss_of(experiment)
    run = {}
    for optimizer in item.optimizers:
        arms = [optimizer + suffix for suffix in item.methods.values()]
        curves = [curve(item, experiment, arm) for arm in arms]
        run |= {optimizer: curves} if any(map(len, curves)) else {}
    if not run:
        raise ResultError(f"no finished run of {experiment.name} at a rate of {item.name} chooses")
    figure, grid = panels(len(run), 2, 2.1 * len(run) + 1.6, sharey="row")
    for row, (optimizer, curves) in zip(grid, run.items(), strict=True):
        means = pd.concat([runs.groupby("rate")["validation"].mean() for runs in curves])
        count = f"n = {span({runs['seed'].nunique() for runs in curves} - {0})}"
        for axes, (by, label) in zip(row, _BY.items(), strict=True):
            for number, runs in enumerate(curves):
                _draw(axes, runs, by, _style(number))
            _scale(axes, item.rates, means[np.isfinite(means)].min(), loss)
            axes.set_title(f"{OPTIMIZERS[optimizer]}, by {label.partition(':')[0]}, {count}")
            axes.set_xlabel(label if axes.get_subplotspec().is_last_row() else "")
        row[0].set_ylabel(f"{loss.label} ({loss.unit})")
    shown = [any(map(len, curves)) for curves in zip(*run.values(), strict=True)]
    handles = [
        Line2D([], [], label=method, **_style(number))
        for number, method in enumerate(item.methods)
        if shown[number]
    ]
    absent = [OPTIMIZERS[optimizer] for optimizer in item.optimizers if optimizer not in run]
    absent += [method for method, there in zip(item.methods, shown, strict=True) if not there]
    not_run = f" Not run: {'; '.join(absent)}." if absent else ""
    legend(figure, handles, 4, handlelength=4)
    text = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed; grey: within {loss.within:g} {loss.unit} of a row's best. What is more than "
        f"{loss.shown:g} above it, and runs that diverged, are not shown.{not_run} "
        f"{conditions(experiment)}."
    )
    caption(figure, text)
    return figure


def _style(number: int) -> dict:
    return {**line(number), "marker": _MARKERS[number % len(_MARKERS)], "markersize": 3.5}


def _scale(axes: Axes, rates: Sequence[float], best: float, loss: Loss) -> None:
    """Ticks at the rates and, as mean steps are smaller, below them; a grey band at the best."""
    axes.set_xscale("log", base=2)
    low = axes.get_xlim()[0]
    ticks = [rates[0] / 4, rates[0] / 2, *rates][::2]  # labels of all would touch
    axes.set_xticks([tick for tick in ticks if tick >= low], minor=False)
    axes.xaxis.set_major_formatter("{x:.4g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="0.9", linewidth=0.5)
    if np.isfinite(best):
        axes.axhspan(best, best + loss.within, color="0.93", zorder=0)
        axes.set_ylim(best - loss.shown / 8, best + loss.shown)


def _draw(axes: Axes, runs: pd.DataFrame, by: str, style: dict) -> None:
    """An arm's mean over seeds, with a band from the least to the greatest."""
    of_rate = runs[np.isfinite(runs["validation"])].groupby("rate")
    if not len(of_rate):
        return
    x, y = of_rate[by].mean(), of_rate["validation"]
    axes.plot(x, y.mean(), **style)
    axes.fill_between(x, y.min(), y.max(), color=style["color"], alpha=0.15, lw=0)
