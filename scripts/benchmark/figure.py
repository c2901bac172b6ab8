"""The benchmark's figure: ratios beside their goals, the ways to mask, growth."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.record.atomic import write
from scripts.benchmark.measure import Result
from scripts.figures.style import STYLE

OURS, OTHER, GOAL = "#0072B2", "#D55E00", "0.25"  # Okabe and Ito's, told apart by marker as well


def draw(results: list[Result], path: Path) -> None:
    """Write the figure as PNG; parts that were not measured leave their panel empty."""
    parts = {part: [r for r in results if r.part == part] for part in ("step", "masks", "growth")}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 6.8), dpi=160, layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.2, 1))
        _goals(figure.add_subplot(grid[:, 0]), [r for r in results if r.goal])
        _masks(figure.add_subplot(grid[0, 1]), parts["masks"])
        _growth(figure.add_subplot(grid[1, 1]), parts["growth"])
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    write(path, buffer.getvalue())


def _goals(axes: Axes, results: list[Result]) -> None:
    """Every row that has a goal, measured over goal: left of the line, it is met."""
    axes.set_title("Measured / goal: met left of the line")
    axes.axvline(1, color=GOAL, linewidth=0.9)
    for place, result in enumerate(results):
        style = {"color": OURS, "marker": "o"} if result.met == "yes" else {
            "color": OTHER, "marker": "X"
        }  # fmt: skip
        axes.plot(result.value / result.goal, place, linestyle="", markersize=5, **style)
    axes.set_yticks(range(len(results)), [_short(result.what) for result in results], fontsize=6.5)
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="0.9", linewidth=0.5)


def _short(what: str) -> str:
    """A row's name in at most two lines."""
    if len(what) <= 36:
        return what
    middle = what.rfind(" ", 0, len(what) // 2 + 8)
    return what[:middle] + "\n" + what[middle + 1 :]


def _masks(axes: Axes, results: list[Result]) -> None:
    """Milliseconds of a step of the larger size, by the way to mask it."""
    axes.set_title("Adam step, 21 M parameters")
    times: dict[str, float] = {}
    for result in results:
        first, _, rest = result.what.partition(" / ")
        other, _, size = rest.rpartition(", ")
        if size.startswith("21"):
            times[first], times[other] = result.ours, result.other
    for place, (name, time) in enumerate(sorted(times.items(), key=lambda pair: pair[1])):
        color = OURS if name == "Adam+LRD" else "0.45"
        axes.plot(time, place, marker="o", color=color)
        axes.text(time * 1.15, place, f"{time:.3g}", va="center", fontsize=6.5)
    axes.set_yticks(range(len(times)), sorted(times, key=times.__getitem__), fontsize=6.5)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    if times:
        axes.set_xlim(min(times.values()) / 2, max(times.values()) * 2.5)


def _growth(axes: Axes, results: list[Result]) -> None:
    """Nanoseconds for each parameter by the number of parameters."""
    axes.set_title("Growth")
    rows = [result for result in results if result.ours]
    counts = [float(result.what.split()[-2]) for result in rows]
    for name, color, marker in (("ours", OURS, "o"), ("other", OTHER, "s")):
        each = [getattr(r, name) * 1e6 / count for r, count in zip(rows, counts, strict=True)]
        label = "Adam+LRD" if name == "ours" else "fused Adam"
        axes.plot(counts, each, color=color, marker=marker, markersize=3.5, label=label)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.set_xlabel("parameters")
    axes.set_ylabel("nanoseconds a parameter")
    axes.grid(color="0.9", linewidth=0.5)
    if rows:
        axes.legend(frameon=False)
