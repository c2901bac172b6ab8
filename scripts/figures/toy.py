"""Figure 4, the toy example: paths over the contour as in the paper, and the shares of starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from models.toy import BASINS, GLOBAL_MINIMUM, LOCAL_MINIMUM, X, Y, basins, objective
from scripts.figures.style import LINES, caption, legend, panels
from scripts.gather import Experiment, names_left_out, of_one_seed
from scripts.item import KEEP_PROBS, TOY_RATES, ResultError, toy_arm
from scripts.tables.toy import OUTCOMES, setting, shares, steps_of, values

STYLES = {
    name: {**style, "marker": marker}
    for name, style, marker in zip(OUTCOMES, LINES, "os^D", strict=False)
}


def draw_basins(experiment: Experiment, scale: str) -> Figure:
    """The shares by p, a panel a learning rate; bars from the least to the greatest seed."""
    figure, grid = panels(1, len(TOY_RATES), 3.3, sharey=True)
    for axes, rate in zip(grid[0], TOY_RATES, strict=True):
        for outcome, style in STYLES.items():
            by_p = {p: values(experiment[toy_arm(rate, p)], outcome) for p in KEEP_PROBS}
            by_p = {p: percents for p, percents in by_p.items() if percents}
            means = [float(np.mean(percents)) for percents in by_p.values()]
            ends = [(min(percents), max(percents)) for percents in by_p.values()]
            low = [mean - least for mean, (least, _) in zip(means, ends, strict=True)]
            high = [greatest - mean for mean, (_, greatest) in zip(means, ends, strict=True)]
            bars = {"yerr": [low, high], "capsize": 2, "elinewidth": 0.8, "markersize": 3.5}
            axes.errorbar(list(by_p), means, **bars, **style)
        axes.set_title(f"learning rate {rate:g}")
        axes.set_xticks(KEEP_PROBS, [f"{p:g}" for p in KEEP_PROBS[:-1]] + ["1\n(base)"])
        axes.grid(color="0.9", linewidth=0.5)
        axes.set_xlim(0.03, 1.07)
    grid[0, 0].set_ylim(bottom=-2)
    grid[0, 0].set_ylabel("starts that end there (%)")
    handles = [Line2D([], [], label=OUTCOMES[name], **style) for name, style in STYLES.items()]
    legend(figure, handles, 4, handlelength=3.5)
    text = (
        f"Toy example, Adam with learning rate dropout, scale {scale}. Markers: mean over seeds; "
        f"bars: least to greatest seed. {setting(experiment)}.{names_left_out(experiment)}"
    )
    caption(figure, text, "p, the probability that a parameter is updated")
    return figure


def read_paths(folder: Path) -> list[np.ndarray]:
    """Takes a run's folder, returns the paths (steps, 2) of which it kept more than the ends."""
    paths = pd.read_csv(folder / "paths.csv").groupby("start")
    return [path[["x", "y"]].to_numpy() for _, path in paths if len(path) > 2]


def draw_paths(experiment: Experiment, scale: str) -> Figure:
    """Paths over the contour of f, of Adam alone and with p = 0.5, from the same starts.

    Raises ResultError if no seed has both.
    """
    rate = TOY_RATES[0]
    arms = {"(a) Adam": toy_arm(rate, 1), "(b) Adam with LRD, p = 0.5": toy_arm(rate, 0.5)}
    runs = of_one_seed({title: experiment[arm] for title, arm in arms.items()})
    if not runs:
        raise ResultError(
            f"no seed has both {' and '.join(arms.values())} of toy at scale {scale}. Make them "
            f"with: python -m experiments.run +sweep=figure4 scale={scale} seed=0"
        )
    figure, grid = panels(1, len(arms), 4.3, sharey=True)
    drawn: set[str] = set()
    for axes, (title, run) in zip(grid[0], runs.items(), strict=True):
        draw_contour(axes)
        outcomes = draw_run(axes, read_paths(run.folder))
        drawn.update(outcomes)
        percents = shares(run)
        ends = f"{percents['global']:.1f} % end in the star's basin"
        axes.set_title(f"{title}\n{ends}, {percents['none']:.1f} % in none yet")
        axes.set_xlabel("x")
    grid[0, 0].set_ylabel("y")
    _legend(figure, drawn)
    starts = run.config["model"]["side"] ** 2
    text = (
        f"Scale {scale}, seed {run.seed}, learning rate {rate:g} (the paper gives none), "
        f"{steps_of(run):,} steps; {len(outcomes)} of the {starts:,} starts, the same in both; "
        "percentages: of all starts. Lines of the contour: f from 0.1 to 100,000, three a decade."
        + names_left_out(experiment)
    )
    caption(figure, text)
    return figure


def draw_contour(axes: Axes) -> None:
    """f in the paper's box, with its minima."""
    x, y = torch.linspace(*X, 300), torch.linspace(*Y, 300)
    f = objective(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)).numpy()
    levels = np.geomspace(0.1, 1e5, 19)
    norm = LogNorm(0.1, 1e8)  # light greys, on which the paths are seen
    axes.contourf(x, y, f, levels, cmap="Greys", norm=norm, extend="min")
    axes.contour(x, y, f, levels, colors="0.65", linewidths=0.4)
    marks = {"color": "black", "markeredgecolor": "white", "linestyle": "none", "zorder": 5}
    axes.plot(*GLOBAL_MINIMUM, marker="*", markersize=13, **marks)
    axes.plot(*LOCAL_MINIMUM, marker="X", markersize=8, **marks)
    axes.set(xlim=X, ylim=Y)


def draw_run(axes: Axes, paths: list[np.ndarray]) -> list[str]:
    """Draw paths (steps, 2), each in the colour of the basin where it ends; returns the basins."""
    outcomes = []
    for points in paths:
        outcome = BASINS[int(basins(torch.from_numpy(points[-1])))]
        outcomes.append(outcome)
        line = {key: STYLES[outcome][key] for key in ("color", "linestyle")}
        axes.plot(*points.T, linewidth=1.3, zorder=3, **line)
        axes.plot(*points[0], "o", mfc="white", mec=line["color"], markersize=5, zorder=4)
    return outcomes


def _legend(figure: Figure, drawn: set[str]) -> None:
    """What the marks mean, and the lines of the paths that are drawn."""
    mark = {"color": "black", "linestyle": "none"}
    handles = [
        Line2D([], [], marker="o", mfc="white", mec="black", linestyle="none", label="start"),
        Line2D([], [], marker="*", markersize=11, label="global minimum", **mark),
        Line2D([], [], marker="X", markersize=7, label="bad local minimum", **mark),
    ]
    ends = {
        "global": "path that ends in the global basin",
        "local": "path that ends in the local basin",
        "outside": "path that ends beyond x = 0",
        "none": "path that has not settled",
    }
    for outcome, label in ends.items():
        if outcome in drawn:
            line = {key: STYLES[outcome][key] for key in ("color", "linestyle")}
            handles.append(Line2D([], [], label=label, **line))
    legend(figure, handles, 3, handlelength=3.5)
