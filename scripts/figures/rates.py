"""Curves of loss by learning rate and by mean step, a row of panels for each base."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from scripts.catalogue import OPTIMIZERS, Item
from scripts.figures.style import caption, legend, line, panels
from scripts.gather import Experiment, conditions
from scripts.rates import WITHIN, curve

_SHOWN = 0.4  # nats above the best, that a panel shows
_BY = {"rate": "learning rate", "step": "mean step: rate × |applied update| / |base update|"}


def rate_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """Takes an item with a grid of rates, returns its validation losses by rate and by mean step.

    If only the step mattered, the curves of the right panels would lie on each other.
    """
    figure, grid = panels(len(item.optimizers), 2, 2.1 * len(item.optimizers) + 1.6, sharey="row")
    for row, optimizer in zip(grid, item.optimizers, strict=True):
        curves = [curve(item, experiment, optimizer + suffix) for suffix in item.methods.values()]
        losses = pd.concat(curves)["validation"]
        losses = losses[np.isfinite(losses)]
        for axes, by in zip(row, _BY, strict=True):
            for number, runs in enumerate(curves):
                _draw(axes, runs, by, line(number))
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid(color="0.9", linewidth=0.5)
            if len(losses):
                best = losses.min()
                axes.axhspan(best, best + WITHIN, color="0.93", zorder=0)
                axes.set_ylim(best - 0.02, best + _SHOWN)
        row[0].set_xticks(item.rates)
        row[0].set_ylabel("validation loss (nats)")
        seeds = sorted({seed for runs in curves for seed in runs["seed"]})
        row[0].set_title(f"{OPTIMIZERS[optimizer]}, n = {len(seeds)}" if seeds else "not run")
    for axes, label in zip(grid[-1], _BY.values(), strict=True):
        axes.set_xlabel(label)
    handles = [
        Line2D([], [], label=method, marker="o", markersize=3, **line(number))
        for number, method in enumerate(item.methods)
    ]
    legend(figure, handles, 4, handlelength=4)
    text = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed; grey: within {WITHIN:g} of the base's best arm. Losses more than {_SHOWN:g} above "
        f"it, and runs that diverged, are not shown. {conditions(experiment)}."
    )
    caption(figure, text)
    return figure


def _draw(axes: Axes, runs: pd.DataFrame, by: str, style: dict) -> None:
    """An arm's mean over seeds, with a band from the least to the greatest."""
    of_rate = runs[np.isfinite(runs["validation"])].groupby("rate")
    if not len(of_rate):
        return
    x, y = of_rate[by].mean(), of_rate["validation"]
    axes.plot(x, y.mean(), marker="o", markersize=2.5, **style)
    axes.fill_between(x, y.min(), y.max(), color=style["color"], alpha=0.15, lw=0)
