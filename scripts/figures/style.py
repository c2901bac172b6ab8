"""What all figures share: their style, panels, curves, legend, caption, and how they are saved."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.record.atomic import write

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
WIDTH = 7.1  # inches: both columns of a page
# Okabe and Ito's colours, Tol's wine and olive, which no form of colour blindness confuses, each
# with a line of its own. Black is the base's at half the rate, thin and on top of what it overlaps.
LINES = [
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": (0, (3, 1))},
    {"color": "#009E73", "linestyle": (0, (6, 1, 1, 1))},
    {"color": "#CC79A7", "linestyle": (0, (1, 1))},
    {"color": "#E69F00", "linestyle": (0, (8, 2))},
    {"color": "#882255", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    {"color": "#56B4E9", "linestyle": (0, (5, 2, 2, 2))},
    {"color": "#999933", "linestyle": (0, (2, 1))},
]
HALF_RATE_LINE = {"color": "black", "linestyle": (0, (2, 2)), "linewidth": 1.0, "zorder": 3}


def line(number: int) -> dict[str, Any]:
    """The style of a method's line; later ones, which lie on top, are thinner.

    Later rounds of the colours have other dashes.
    """
    turn, place = divmod(number, len(LINES))
    dashes = LINES[(place + turn) % len(LINES)]["linestyle"]
    return {**LINES[place], "linestyle": dashes, "linewidth": max(1.0, 1.5 - 0.1 * number)}


def panels(rows: int, columns: int, height: float, **more: Any) -> tuple[Figure, np.ndarray]:
    """An empty figure over both columns of a page, and its panels (rows, columns)."""
    figure = canvas(height)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_curve(axes: Axes, curves: np.ndarray, style: dict[str, Any]) -> None:
    """Takes (epochs, seeds): the mean over seeds, and a band from the least to the greatest."""
    evaluated = ~np.isnan(curves).all(1)
    epochs, curves = np.flatnonzero(evaluated) + 1, curves[evaluated]
    axes.plot(epochs, curves.mean(1), marker="." if len(epochs) == 1 else None, **style)
    if curves.shape[1] > 1:
        low, high = curves.min(1), curves.max(1)
        alpha = 0.1 if style["color"] == "black" else 0.2  # greys would cover the others
        axes.fill_between(epochs, low, high, color=style["color"], alpha=alpha, lw=0)


def epoch_ticks(axes: Axes, epochs: int, parts: int) -> None:
    """At most so many ticks as equal parts, the last epoch among them; and a grid."""
    axes.set_xticks(range(epochs, 0, -math.ceil(epochs / parts)))
    axes.grid(color="0.9", linewidth=0.5)


def legend(figure: Figure, handles: Sequence[Any], columns: int, **more: Any) -> None:
    """One legend for all panels, above them."""
    where = "outside upper center"
    figure.legend(handles=handles, loc=where, ncols=columns, frameon=False, **more)


def caption(figure: Figure, text: str, label: str = "") -> None:
    """The words below the panels, and above them the label of all horizontal axes."""
    wrapped = textwrap.fill(text, 125)
    figure.supxlabel(f"{label}\n\n{wrapped}" if label else wrapped, fontsize=7)


def save(figure: Figure, path: Path, kinds: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write a figure to <path>.<kind>, without date and version, and return the paths.

    The first kind's layout is that of all, so that the same figure gives the same bytes.
    """
    metadata = {
        "png": {"Software": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }
    paths = [path.with_name(f"{path.name}.{kind}") for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=200, metadata=metadata[kind])
        figure.set_layout_engine("none")
        write(path, content.getvalue())
    return paths
