"""Figures 8 and 9: curves of both methods, a panel for each column, and pictures."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts.figures.curves import about, limits, line_styles, methods_of
from scripts.figures.pictures import draw_predictions, read_predictions
from scripts.figures.style import caption, draw_curve, epoch_ticks, legend, panels
from scripts.gather import Arm, Experiment, names_left_out, of_one_seed, paper_values
from scripts.item import OPTIMIZERS, Item, ResultError


def learning_curves(item: Item, experiment: Experiment, scale: str) -> Figure:
    """The methods' curves by epoch, a panel a column; dotted lines are published last values.

    Axes of losses leave out the first epoch, which would flatten the others.
    """
    columns = experiment.task.COLUMNS
    paper = paper_values(item, experiment.name) if scale == "paper" else {}
    figure, grid = panels(1, len(item.columns), 3.1)
    methods = methods_of(item, experiment)
    (optimizer,) = item.optimizers
    arms = {optimizer + methods[name]: style for name, style in line_styles(methods).items()}
    epochs = max(run.config["epochs"] for run in experiment.runs)
    for axes, column in zip(grid[0], item.columns, strict=True):
        for name, style in arms.items():
            if experiment[name].done:
                draw_curve(axes, experiment[name].curves(column), style)
            if (name, column) in paper:
                level = paper[name, column]
                axes.axhline(level, color=style["color"], linestyle=":", linewidth=0.8)
        axes.set_title(columns[column].label)
        epoch_ticks(axes, epochs, 5)
        later = [arm.curves(column)[1:] for arm in experiment.arms.values() if arm.done]
        if columns[column].falls and epochs > 1 and later:
            axes.set_ylim(limits(later, columns[column]))
    handles = [
        Line2D(
            [], [], label=f"{OPTIMIZERS[optimizer]}, {method}: {_count(experiment[name])}", **style
        )
        for method, (name, style) in zip(methods, arms.items(), strict=True)
    ]
    legend(figure, handles, 2, handlelength=3)
    falls = epochs > 1 and any(columns[name].falls for name in item.columns)
    text = (
        f"{about(experiment, scale)}{' Dotted: published.' if paper else ''}"
        f"{' Axes of losses begin with epoch 2.' if falls else ''}{names_left_out(experiment)}"
    )
    caption(figure, text, "epoch")
    return figure


def _count(arm: Arm) -> str:
    words = [f"n = {len(arm.done)}" if arm.done else "", arm.divergence()]
    return ", ".join(word for word in words if word) or "not run"


def pictures(item: Item, experiment: Experiment) -> Figure:
    """Validation images with predictions of the first seed that both methods have.

    Raises ResultError if there is no such seed, or if its runs saved none.
    """
    arms = zip(item.methods, item.arms(), strict=True)
    runs = of_one_seed({method: experiment[arm] for method, arm in arms})
    if not runs:
        raise ResultError("no seed has both methods")
    predictions = {method: read_predictions(run.folder) for method, run in runs.items()}
    if missing := [run.folder for method, run in runs.items() if predictions[method] is None]:
        raise ResultError(f"no predictions.pt in {', '.join(map(str, missing))}")
    run = next(iter(runs.values()))
    text = f"{run.info['data']['name']}, first validation images, seed {run.seed}, last epoch"
    return draw_predictions(run.config["task"], predictions, text)
