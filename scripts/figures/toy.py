"""Figure 4, the toy example, from run folders: `python -m scripts.figures.toy`.

Writes <figures>/<scale>/figure4.{png,pdf}, paths over the contour as in the paper, and what the
paper does not give, the share of starts that end in each basin: figure4-basins.{png,pdf} and
<tables>/<scale>/figure4.{csv,md,tex}. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.record.atomic import write
from experiments.record.reader import RecordError, Run
from models.toy import BASINS, GLOBAL_MINIMUM, LOCAL_MINIMUM, X, Y, basins, objective
from scripts.figures.curves import LINES, STYLE, save
from scripts.gather import Experiment, ResultError
from scripts.tables.cells import latex, markdown
from scripts.tables.toy import (
    KEEP_PROBS,
    OUTCOMES,
    RATES,
    Rates,
    arm_of,
    frame,
    read_rates,
    setting,
    shares,
    steps_of,
    summary,
    values,
)

STYLES = {
    name: {**line, "marker": marker}
    for name, line, marker in zip(OUTCOMES, LINES, "os^D", strict=False)
}


def draw_basins(read: Rates, scale: str) -> Figure:
    """The shares by p, a panel a learning rate; bars from the least to the greatest seed."""
    figure = Figure(figsize=(7.1, 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(RATES), sharey=True)
    for axes, (rate, experiment) in zip(panels, read.items(), strict=True):
        for outcome, style in STYLES.items():
            found = {p: values(experiment[arm_of(rate, p)], outcome) for p in KEEP_PROBS}
            there = {p: each for p, each in found.items() if each}
            means = [float(np.mean(each)) for each in there.values()]
            low = [mean - min(each) for mean, each in zip(means, there.values(), strict=True)]
            high = [max(each) - mean for mean, each in zip(means, there.values(), strict=True)]
            bars = {"yerr": [low, high], "capsize": 2, "elinewidth": 0.8, "markersize": 3.5}
            axes.errorbar(list(there), means, **bars, **style)
        axes.set_title(f"learning rate {rate:g}")
        axes.set_xticks(KEEP_PROBS, [f"{p:g}" for p in KEEP_PROBS[:-1]] + ["1\n(base)"])
        axes.grid(color="0.9", linewidth=0.5)
        axes.set(xlim=(0.03, 1.07), ylim=(-2, 72))
    panels[0].set_ylabel("starts that end there (%)")
    handles = [Line2D([], [], label=OUTCOMES[name], **style) for name, style in STYLES.items()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=4, frameon=False, handlelength=3.5
    )
    caption = (
        f"Toy example, Adam with learning rate dropout, scale {scale}. Markers: mean over seeds; "
        f"bars: least to greatest seed. {setting(read)}."
    )
    label = "p, the probability that a parameter is updated"
    figure.supxlabel(f"{label}\n\n" + textwrap.fill(caption, 115), fontsize=7)
    return figure


def draw_paths(experiment: Experiment, scale: str) -> Figure:
    """Paths over the contour of f, of Adam alone and with p = 0.5, from the same starts.

    Raises ResultError if no seed has both.
    """
    arms = {"(a) Adam": arm_of(RATES[0], 1), "(b) Adam with LRD, p = 0.5": arm_of(RATES[0], 0.5)}
    by_seed = [{run.seed: run for run in experiment[arm].done} for arm in arms.values()]
    common = sorted(set.intersection(*(set(runs) for runs in by_seed)))
    if not common:
        raise ResultError(
            f"no seed has both {' and '.join(arms.values())} of toy at scale {scale}. Make them "
            f"with: python -m experiments.run +sweep=figure4 scale={scale} seed=0"
        )
    figure = Figure(figsize=(7.1, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels, drawn = figure.subplots(1, len(arms), sharey=True), set()
    for axes, title, runs in zip(panels, arms, by_seed, strict=True):
        run = runs[common[0]]
        draw_contour(axes)
        outcomes = draw_run(axes, run)
        drawn.update(outcomes)
        found = shares(run)
        there = f"{found['global']:.1f} % end in the star's basin"
        axes.set_title(f"{title}\n{there}, {found['none']:.1f} % in none yet")
        axes.set_xlabel("x")
    panels[0].set_ylabel("y")
    _legend(figure, drawn)
    run = by_seed[0][common[0]]
    starts = run.config["model"]["side"] ** 2
    caption = (
        f"Scale {scale}, seed {run.seed}, learning rate {RATES[0]:g} (the paper gives none), "
        f"{steps_of(run):,} steps; {len(outcomes)} of the {starts:,} starts, the same in both; "
        "percentages: of all starts. Lines of the contour: f from 0.1 to 100,000, three a decade."
    )
    figure.supxlabel(textwrap.fill(caption, 115), fontsize=7)
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


def draw_run(axes: Axes, run: Run) -> list[str]:
    """The whole paths of a run, each in the colour of the basin where it ends; these basins."""
    table = pd.read_csv(run.folder / "paths.csv")
    paths = [path for _, path in table.groupby("start") if len(path) > 2]
    outcomes = []
    for path in paths:
        points = path[["x", "y"]].to_numpy()
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
    figure.legend(
        handles=handles, loc="outside upper center", ncols=3, frameon=False, handlelength=3.5
    )


def make(runs_dir: Path, figures: Path, tables: Path, scale: str) -> list[Path]:
    """Write figures and table, and return their paths. Raises ResultError without runs."""
    read = read_rates(runs_dir, scale)
    paths = []
    drawn = {
        "figure4": draw_paths(read[RATES[0]], scale),
        "figure4-basins": draw_basins(read, scale),
    }
    for name, figure in drawn.items():
        for kind in ("png", "pdf"):
            paths.append(figures / scale / f"{name}.{kind}")
            save(figure, paths[-1])
    table = summary(read, scale)
    csv = frame(read, scale).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    for kind, text in {"csv": csv, "md": markdown(table), "tex": latex(table)}.items():
        paths.append(tables / scale / f"figure4.{kind}")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        write(paths[-1], text.encode())
    return paths


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--figures", type=Path, default=Path("results/figures"))
    parser.add_argument("--tables", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    try:
        with mpl.rc_context(STYLE):
            paths = make(options.runs_dir, options.figures, options.tables, options.scale)
    except (ResultError, RecordError) as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
