"""Figures from run folders: `python -m scripts.figures figure5`, and the README's picture: `lrd`.

Writes <out>/<scale>/<figure>.{png,pdf}, and <out>/lrd.png. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.record import RecordError
from scripts.arms import (
    OPTIMIZERS,
    Arm,
    Experiment,
    ResultError,
    conditions,
    read_experiment,
    require_runs,
    write_whole,
)
from scripts.drawings import draw_lrd

FIGURES = {"mnist": "figure5", "cifar10": "figure6", "cifar100": "figure7"}
PANELS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy (%)",
    "test_accuracy": "test accuracy (%)",
}
# Two of Okabe and Ito's colours, which no form of colour blindness confuses, and two line styles.
METHODS = {
    "base": ("", {"color": "#0072B2", "linestyle": "-"}),
    "LRD, p = 0.5": ("+lrd0.5", {"color": "#D55E00", "linestyle": (0, (3, 1))}),
}
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


def limits(experiment: Experiment, column: str) -> tuple[float, float]:
    """A row's common limits: all losses, but no accuracies of the steep first tenth.

    Of the accuracies, one in a hundred may lie below, so that a spike does not flatten the rest.
    """
    curves = [arm.curves(column) for arm in experiment.arms.values() if arm.done]
    loss = column.endswith("loss")
    shown = [curve.iloc[0 if loss else len(curve) // 10 :].to_numpy().ravel() for curve in curves]
    found = np.concatenate(shown)
    if loss:
        return 0.7 * max(found.min(), 1e-8), 1.4 * found.max()  # drawn on a logarithmic axis
    low, high = np.quantile(found, 0.01), found.max()
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin


def seeds_line(experiment: Experiment, optimizer: str) -> str:
    """What stands below an optimizer's name: how many seeds each curve is the mean of."""
    counts = []
    for method, (suffix, _) in METHODS.items():
        arm = experiment[optimizer + suffix]
        text = f"n = {len(arm.done)}" if arm.done else ""
        text = ",\n".join(part for part in (text, arm.divergence()) if part) or "not run"
        counts.append((method.split(",")[0], text))
    if len({text for _, text in counts}) == 1:
        return counts[0][1]
    return "\n".join(f"{method}: {text}" for method, text in counts)


def draw_panel(axes: Axes, experiment: Experiment, optimizer: str, column: str) -> None:
    """Both methods' curves of one metric, or the words that there are none."""
    drawn = False
    for suffix, style in METHODS.values():
        arm = experiment[optimizer + suffix]
        if arm.done:
            draw_curve(axes, arm, column, style)
            drawn = True
    if not drawn:
        tried = any(experiment[optimizer + suffix].diverged for suffix, _ in METHODS.values())
        word = "diverged" if tried else "not run"
        axes.text(0.5, 0.5, word, transform=axes.transAxes, ha="center", va="center", color="0.4")


def learning_curves(experiment: Experiment, scale: str) -> Figure:
    """Figures 5 to 7: loss and accuracies (rows) by epoch, for each optimizer (columns)."""
    figure = Figure(figsize=(7.1, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(PANELS), len(OPTIMIZERS), sharex=True, sharey="row")
    any_done = any(arm.done for arm in experiment.arms.values())
    for row, (column, label) in zip(grid, PANELS.items(), strict=True):
        for axes, optimizer in zip(row, OPTIMIZERS, strict=True):
            draw_panel(axes, experiment, optimizer, column)
            axes.grid(color="0.9", linewidth=0.5)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        row[0].set_ylabel(label)
        if column.endswith("loss"):
            row[0].set_yscale("log")
        if any_done:
            row[0].set_ylim(limits(experiment, column))
    for axes, (optimizer, name) in zip(grid[0], OPTIMIZERS.items(), strict=True):
        axes.set_title(f"{name}\n{seeds_line(experiment, optimizer)}")
    figure.align_ylabels()
    handles = [Line2D([], [], label=method, **style) for method, (_, style) in METHODS.items()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=2, frameon=False, handlelength=3
    )
    caption = (
        f"{experiment.title}, scale {scale}. Lines: mean over n seeds; bands: least to greatest "
        f"seed. Accuracy axes leave out the steep start. {conditions(experiment)}."
    )
    figure.supxlabel("epoch\n\n" + textwrap.fill(caption, 115), fontsize=7)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its suffix names, without date and version."""
    kind = path.suffix[1:]
    metadata = {
        "png": {"Software": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }[kind]
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=200, metadata=metadata)
    write_whole(path, content.getvalue())


def make_curves(runs_dir: Path, out: Path, scale: str, name: str) -> list[Path]:
    """Write the learning curves of an experiment as png and pdf, and return their paths."""
    arms = [optimizer + suffix for optimizer in OPTIMIZERS for suffix, _ in METHODS.values()]
    experiment = read_experiment(runs_dir, scale, name, arms)
    require_runs([experiment], runs_dir, scale)
    figure = learning_curves(experiment, scale)
    stem = FIGURES.get(name, f"figure5-{name}")
    paths = [out / scale / f"{stem}.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        save(figure, path)
    return paths


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=["figure5", "lrd"])
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--experiment", default="mnist", help="another one's curves instead")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/figures"))
    options = parser.parse_args(arguments)
    try:
        with mpl.rc_context(STYLE):
            if options.figure == "lrd":
                paths = [options.out / "lrd.png"]
                save(draw_lrd(), paths[0])
            else:
                paths = make_curves(
                    options.runs_dir, options.out, options.scale, options.experiment
                )
    except (ResultError, RecordError) as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
