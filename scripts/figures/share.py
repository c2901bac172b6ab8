"""LRD, the base, and the base at LRD's mean step, pair by pair, optimizer by optimizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts.figures.style import STYLE, caption, legend, panels
from scripts.item import OPTIMIZERS
from scripts.verdicts.claim import LEAST_SEEDS
from scripts.verdicts.intervals import LABEL
from scripts.verdicts.share import NOTE

_ORDER = {name: place for place, name in enumerate(OPTIMIZERS)}
_TRAINING = "training accuracy over all epochs (%)"
# The last ten epochs have a mean where each was evaluated; else the last one stands
_TESTS = "test accuracy, mean of the last ten epochs (%)", "test accuracy, last epoch (%)"
_PAIRS = {
    "mask": {"color": "#0072B2", "marker": "o", "markersize": 4},
    "step": {"color": "black", "marker": "s", "markersize": 4, "markerfacecolor": "white"},
    "rest": {"color": "#D55E00", "marker": "D", "markersize": 4},
}
_LABELS = ("LRD − base", "base at p × the rate − base", "LRD − base at p × the rate")
_APART = 0.24  # of an optimizer's pairs, in rows

Row = dict[str, Any]  # of scripts.verdicts.share
Group = dict[tuple[str, float], dict[str, Row]]  # rows by optimizer and p, and by statistic


def share_figure(rows: list[Row], scale: str) -> Figure | None:
    """Takes a scale's rows, returns the differences of each pair in points, of training accuracy
    and of test accuracy; None without an optimizer that has the seeds for a verdict."""
    groups = _groups(rows)
    if not groups:
        return None
    heights = [len(group) + 1 for group in groups.values()]
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        figure, grid = panels(len(groups), 2, 1.0 + 0.4 * sum(heights), height_ratios=heights)
        for (name, group), of_group in zip(groups.items(), grid, strict=True):
            for axes, statistics in zip(of_group, ((_TRAINING,), _TESTS), strict=True):
                _draw(axes, name, group, statistics)
        handles = [
            *(
                Line2D([], [], label=label, linestyle="", **style)
                for label, style in zip(_LABELS, _PAIRS.values(), strict=True)
            ),
            Line2D([], [], color="black", linewidth=0.9, label=LABEL),
            Line2D([], [], color="black", linewidth=2.4, label="Student's interval"),
        ]
        legend(figure, handles, 3)
        text = f"Scale {scale}; p = 0.5 unless named. n: seeds of which all three ran on "
        text += "one type of processor. Axes differ."
        text += f" {NOTE}" * any(row["short"] for row in rows)
        caption(figure, text, "difference (points of accuracy; right is better)")
    return figure


def _groups(rows: list[Row]) -> dict[str, Group]:
    """By data and setting, the rows of enough seeds, in the order of the paper's optimizers."""
    groups: dict[str, Group] = {}
    enough = [row for row in rows if row["n"] >= LEAST_SEEDS]
    for row in sorted(enough, key=lambda row: _ORDER.get(_split(row)[0], len(_ORDER))):
        optimizer, setting = _split(row)
        name = row["data"] + f", {re.sub('[_=+]', ' ', setting)}" * bool(setting)
        by_statistic = groups.setdefault(name, {}).setdefault((optimizer, row["p"]), {})
        by_statistic[row["statistic"]] = row
    return groups


def _split(row: Row) -> tuple[str, str]:
    """The base's optimizer, and what else is in its arm's name."""
    optimizer, _, setting = row["optimizer"].partition("+")
    return optimizer, setting


def _draw(axes: Axes, name: str, group: Group, statistics: Sequence[str]) -> None:
    """An optimizer a row, its pairs in it, of the first of the statistics that all of them have."""
    known = [name for name in statistics if all(name in rows for rows in group.values())]
    if not known:
        axes.set_axis_off()
        return
    labels = []
    for place, ((optimizer, p), by_statistic) in enumerate(group.items()):
        row = by_statistic[known[0]]
        for (pair, style), apart in zip(_PAIRS.items(), (-_APART, 0, _APART), strict=True):
            for ends, width in (("low", "high"), 0.9), (("student_low", "student_high"), 2.4):
                values = [row[f"{pair}_{end}"] for end in ends]
                axes.plot(values, [place + apart] * 2, color=style["color"], linewidth=width)
            axes.plot(row[f"{pair}_mean"], place + apart, zorder=3, **style)
        named = OPTIMIZERS.get(optimizer, optimizer) + "*" * row["short"]
        named += f", p = {p:g}" * (p != 0.5)
        labels.append(f"{named}, n = {row['n']}")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.axvline(0, color="0.25", linewidth=0.8, zorder=1)
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"{name}:\n{known[0].removesuffix(' (%)')}", loc="left")
