"""Figures 8 and 9: curves of both methods, a panel for each column, and pictures."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scripts.catalogue import OPTIMIZERS, Item
from scripts.figures.pictures import draw_predictions, read_predictions
from scripts.figures.style import caption, draw_curve, legend, line, panels
from scripts.gather import (
    Arm,
    Experiment,
    ResultError,
    conditions,
    left_out,
    of_one_seed,
    paper_values,
)


class NoPictures(ResultError):
    """Runs that saved no predictions of one seed; the message says which."""


def learning_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """Both methods' curves by epoch, a panel a column; dotted lines are published last values."""
    columns = experiment.task.COLUMNS
    paper = paper_values(item, experiment.name) if scale == "paper" else {}
    figure, grid = panels(1, len(item.columns), 3.1)
    arms = {name: line(number) for number, name in enumerate(item.arms())}
    for axes, column in zip(grid[0], item.columns, strict=True):
        for name, style in arms.items():
            if experiment[name].done:
                draw_curve(axes, experiment[name].curves(column), style)
            if (name, column) in paper:
                level = paper[name, column]
                axes.axhline(level, color=style["color"], linestyle=":", linewidth=0.8)
        axes.set_title(columns[column].label)
        axes.grid(color="0.9", linewidth=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    optimizer = OPTIMIZERS[item.optimizers[0]]
    handles = [
        Line2D([], [], label=f"{optimizer}, {method}: {_count(experiment[name])}", **style)
        for method, (name, style) in zip(item.methods, arms.items(), strict=True)
    ]
    legend(figure, handles, 2, handlelength=3)
    text = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed. {'Dotted: published. ' if paper else ''}{conditions(experiment)}."
        f"{left_out(experiment)}"
    )
    caption(figure, text, "epoch")
    return figure


def _count(arm: Arm) -> str:
    words = [f"n = {len(arm.done)}" if arm.done else "", arm.divergence()]
    return ", ".join(word for word in words if word) or "not run"


def pictures(item: Item, experiment: Experiment) -> Figure:
    """Validation images with predictions of the first seed that both methods have.

    Raises NoPictures if there is no such seed, or if its runs saved none.
    """
    arms = zip(item.methods, item.arms(), strict=True)
    runs = of_one_seed({method: experiment[arm] for method, arm in arms})
    if not runs:
        raise NoPictures("no seed has both methods")
    predictions = {method: read_predictions(run.folder) for method, run in runs.items()}
    if missing := [run.folder for method, run in runs.items() if predictions[method] is None]:
        raise NoPictures(f"no predictions.pt in {', '.join(map(str, missing))}")
    run = next(iter(runs.values()))
    text = f"{run.info['data']['name']}, first validation images, seed {run.seed}, last epoch"
    return draw_predictions(run.config["task"], predictions, text)
