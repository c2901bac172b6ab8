"""The benchmark's figure: ratios beside their goals, the ways to mask, growth."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from scripts.benchmark.measure import Result
from scripts.figures.style import STYLE, canvas, save

OURS, OTHER, GOAL = "#0072B2", "#D55E00", "0.25"  # Okabe and Ito's, told apart by marker as well


def draw(results: list[Result], path: Path) -> None:
    """Write the figure to <path>.png; parts that were not measured leave their panel empty."""
    masks, growth = ([row for row in results if row.part == part] for part in ("masks", "growth"))
    goals = [row for row in results if row.goal]
    with mpl.rc_context(STYLE):
        figure = canvas(max(6.8, 0.2 * len(goals)), 9.5)
        grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1))
        _goals(figure.add_subplot(grid[:, 0]), goals)
        _masks(figure.add_subplot(grid[0, 1]), masks)
        _growth(figure.add_subplot(grid[1, 1]), growth)
        save(figure, path, ("png",))


def _goals(axes: Axes, results: list[Result]) -> None:
    """Every row that has a goal, measured over goal: left of the line, it is met."""
    axes.set_title("Measured / goal: met left of the line")
    axes.axvline(1, color=GOAL, linewidth=0.9)
    for place, result in enumerate(results):
        color, marker = (OURS, "o") if result.met == "yes" else (OTHER, "X")
        axes.plot(result.value / result.goal, place, marker, color=color, markersize=5)
    axes.set_yticks(range(len(results)), [result.what for result in results], fontsize=6)
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="0.9", linewidth=0.5)


def _masks(axes: Axes, results: list[Result]) -> None:
    """Milliseconds of a step of the larger size, by the way to mask it."""
    axes.set_title("Adam step, 21 M parameters")
    largest = max((result.parameters for result in results), default=0)
    times: dict[str, float] = {}
    for result in results:
        if result.parameters == largest:
            times[result.name], times[result.against] = result.ours, result.other
    times = dict(sorted(times.items(), key=lambda pair: pair[1]))
    for place, (name, time) in enumerate(times.items()):
        color = OURS if name == "Adam+LRD" else "0.45"
        axes.plot(time, place, marker="o", color=color)
        axes.text(time * 1.15, place, f"{time:.3g}", va="center", fontsize=6.5)
    axes.set_yticks(range(len(times)), times, fontsize=6.5)
    axes.set_xscale("log")
    few = LogLocator(subs=(1, 3))
    axes.xaxis.set(major_locator=few, minor_locator=NullLocator(), major_formatter="{x:g}")
    axes.set_xlabel("milliseconds")
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    if times:
        axes.set_xlim(min(times.values()) / 2, max(times.values()) * 2.5)


def _growth(axes: Axes, results: list[Result]) -> None:
    """Nanoseconds for each parameter by the number of parameters."""
    axes.set_title("Growth")
    rows = [result for result in results if result.parameters]
    counts = [result.parameters for result in rows]
    for label, times, color, marker in (
        ("Adam+LRD", [row.ours for row in rows], OURS, "o"),
        ("fused Adam", [row.other for row in rows], OTHER, "s"),
    ):
        heights = [time * 1e6 / count for time, count in zip(times, counts, strict=True)]
        axes.plot(counts, heights, color=color, marker=marker, markersize=3.5, label=label)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.set_xlabel("parameters")
    axes.set_ylabel("nanoseconds a parameter")
    axes.grid(color="0.9", linewidth=0.5)
    if rows:
        axes.legend(frameon=False)
