"""The forest plot: each claim with its interval, what it is held against, and its verdict.

Narrow, with words above lines, so that a phone shows it; told apart by word, sign and colour.
"""

from __future__ import annotations

import math
import textwrap

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from scripts.figures.style import STYLE, canvas
from scripts.gather import among
from scripts.tables.formats import capital
from scripts.titles import title
from scripts.verdicts.claim import LEAST_SEEDS, Claim
from scripts.verdicts.intervals import LABEL
from scripts.verdicts.judge import (
    AGAINST,
    CONTRADICTED,
    EXCLUDED,
    FOR,
    MIXED,
    NO_EFFECT,
    NOT_COMPARABLE,
    SMALLER,
    SUPPORTED,
    UNDECIDED,
    Tested,
    Verdict,
)
from scripts.verdicts.text import left_out, seeds_of, word

WIDTH, ROW, HEAD = 5.6, 0.47, 0.75  # inches: of the figure, of a claim, of a family
_LINE, _APART = 0.27, 0.42  # rows: a further line of a claim's words; each of several intervals
_GREY = "#767676"
# Sign, colour and marker of a verdict: Okabe and Ito's colours, darkened where they are text
SIGNS = {
    SUPPORTED: ("✓", "#00735a", "o"),
    SMALLER: ("✓", "#00735a", "o"),
    CONTRADICTED: ("✗", "#b34700", "X"),
    NO_EFFECT: ("=", "#005c94", "s"),
    EXCLUDED: ("<", "#8a3a73", "D"),
    UNDECIDED: ("?", _GREY, "o"),
    NOT_COMPARABLE: ("–", _GREY, "^"),
    FOR: ("↑", _GREY, "o"),
    AGAINST: ("↓", _GREY, "o"),
    MIXED: ("↔", _GREY, "o"),
}


def draw(verdicts: list[Verdict]) -> Figure:
    """Takes verdicts of a scale that were run, returns their plot: a panel for each family."""
    families: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        key = verdict.claim.family, verdict.claim.comparisons[0].statistic
        families.setdefault(key, []).append(verdict)
    heights = [HEAD + ROW * sum(map(_rows, members)) for members in families.values()]
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        figure = canvas(sum(heights) + 0.75, WIDTH)
        figure.get_layout_engine().set(hspace=0.0, h_pad=0.04)  # type: ignore[union-attr]
        grid = figure.subplots(len(families), squeeze=False, height_ratios=heights)
        for axes, ((name, _), members) in zip(grid[:, 0], families.items(), strict=True):
            _family(axes, name, members)
        handles = _legend(verdicts)
        if any(line.get_marker() in ("<", ">") for axes in grid[:, 0] for line in axes.lines):
            handles.append(Line2D([], [], color="black", marker=">", label="goes on"))
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
    return figure


def _rows(verdict: Verdict) -> float:
    """The height of a claim, in rows."""
    height = 0.76 + _LINE * len(_words(verdict))
    return height + (_APART * len(_begun(verdict)) - 0.27 if len(verdict.tested) > 1 else 0)


def _begun(verdict: Verdict) -> list[Tested]:
    """Its comparisons of which there is something to tell."""
    return [test for test in verdict.tested if test.measured.seeds or test.unlike]


def _words(verdict: Verdict) -> list[str]:
    """The claim, in lines that fit."""
    return textwrap.wrap(verdict.claim.text + ("\N{NO-BREAK SPACE}†" if verdict.late else ""), 100)


def _family(axes: Axes, name: str, members: list[Verdict]) -> None:
    tests = [test for verdict in members for test in verdict.tested if _shown(test)]
    reach = max((abs(value) for test in tests for value in _values(test)), default=1.0) * 1.15
    axes.set_xlim(-reach, reach)
    axes.set_ylim(sum(map(_rows, members)), 0)
    heading = f"{capital(name)}: {_difference(members[0].claim)}"
    axes.set_title(heading, loc="left", fontweight="bold", pad=13)
    axes.annotate(_about(members), (0, 1), (0, 3), "axes fraction", "offset points", fontsize=7)
    axes.set_yticks([])
    axes.tick_params(axis="x", length=2)
    axes.axvline(0, color="0.25", linewidth=0.8, zorder=1)
    top = 0.0
    for verdict in members:
        _claim(axes, verdict, top)
        top += _rows(verdict)


def _difference(claim: Claim) -> str:
    """`difference in test accuracy (points)`."""
    name, unit = claim.comparisons[0].column.label.partition(" (")[0], claim.unit.strip()
    if unit == "epochs":
        return "difference in epochs"
    return f"difference in {name}" + f" ({unit})" * (unit not in name)


def _about(members: list[Verdict]) -> str:
    """`MNIST, FCNet, scale paper; right is better`."""
    runs = [
        run for of in members for test in of.tested for seed in test.measured.runs for run in seed
    ]
    words = []
    if runs:
        of_data = title(runs[0].experiment, [run.config for run in runs])
        copy = among(runs, lambda run: run.info["data"]["name"])
        words.append(f"{of_data}, scale {runs[0].scale}")
        words += [f"data: {copy}"] if "copy" in copy else []
    words.append(f"{'left' if members[0].claim.falls else 'right'} is better")
    return "; ".join(words)


def _claim(axes: Axes, verdict: Verdict, top: float) -> None:
    sign, colour, marker = SIGNS[verdict.verdict]
    style = {
        "transform": axes.get_yaxis_transform(),
        "fontsize": 7,
        "va": "center",
        "zorder": 2,
        "bbox": {"color": "white", "pad": 0},
    }  # no line runs through words
    begun, several = _begun(verdict), len(verdict.tested) > 1
    decided = f"{sign} {word(verdict)}, n = {seeds_of(verdict)}"
    if absent := sum(not (test.begun or test.unlike) for test in verdict.tested):
        decided += f"; {absent} of {len(verdict.tested)} comparisons not run"
    if without := left_out(verdict):
        decided += f", {without}"
    axes.text(0, top + 0.18, decided, color=colour, fontweight="bold", **style)
    words = _words(verdict)
    for number, text in enumerate(words):
        axes.text(0, top + 0.45 + _LINE * number, text, **style)
    height = top + 0.53 + _LINE * len(words) + 0.15 * several
    for test in begun:
        if _shown(test):
            face = "white" if colour == _GREY else colour
            shape = SIGNS[NOT_COMPARABLE][2] if test.unlike else marker
            _interval(axes, test, height, colour, face, shape)
        axes.text(0, height - 0.19, _label(test, several), **{**style, "fontsize": 5.5})
        height += _APART


def _label(test: Tested, several: bool) -> str:
    """Which of several comparisons it is, and why nothing follows from it; in one line."""
    why = "not comparable" * several if test.unlike and _shown(test) else test.unlike
    text = ": ".join(part for part in (test.pair.label * several, why) if part)
    return textwrap.shorten(text, 115, placeholder=" …")


def _interval(axes: Axes, test: Tested, height: float, colour: str, face: str, marker: str) -> None:
    """A comparison: margin, published gain, both intervals and the mean; arrows where cut off."""
    result, limit = test.result, axes.get_xlim()[1]
    if test.pair.margin is not None:
        left = test.pair.bound - test.pair.margin
        box = (left, height - 0.08), 2 * test.pair.margin, 0.16
        axes.add_patch(mpl.patches.Rectangle(*box, color="0.9", zorder=0))
    if test.gain is not None:
        axes.plot([test.gain] * 2, [height - 0.13, height + 0.13], color="black", linewidth=2)
    if not math.isnan(result.low):
        low, high = max(result.low, -limit), min(result.high, limit)
        axes.plot([low, high], [height] * 2, color=colour, linewidth=0.9, zorder=3)
        for end, cut, arrow in ((low, result.low, "<"), (high, result.high, ">")):
            shape = arrow if abs(cut) > limit else "|"
            axes.plot(end, height, shape, color=colour, markersize=4, zorder=3, clip_on=False)
        ends = max(result.student_low, -limit), min(result.student_high, limit)
        axes.plot(ends, [height] * 2, color=colour, linewidth=2.6, zorder=3, solid_capstyle="butt")
    axes.plot(
        result.mean, height, marker, color=colour, markerfacecolor=face, markersize=4.5, zorder=4
    )


def _shown(test: Tested) -> bool:
    return bool(test.measured.seeds) and "collapsed" not in test.unlike


def _values(test: Tested) -> list[float]:
    """What must be in sight: the mean, its intervals, the margin and the published gain.

    The interval that decides is cut off where it decides nothing: of fewer seeds than a verdict
    needs, and of what is not comparable.
    """
    result, pair = test.result, test.pair
    margin = pair.margin or 0
    values = [result.mean, test.gain, pair.bound - margin, pair.bound + margin]
    if len(test.measured.seeds) > 2:
        values += [result.student_low, result.student_high]
    if test.counts and len(test.measured.seeds) >= LEAST_SEEDS:
        values += [result.low, result.high]
    return [value for value in values if value is not None and not math.isnan(value)]


def _legend(verdicts: list[Verdict]) -> list[Line2D | Patch]:
    tests = [test for of in verdicts for test in of.tested if _shown(test)]
    gains = [test for test in tests if test.gain]
    scaled = any(test.gain != test.pair.published for test in gains)
    gain = Line2D([], [], color="black", linestyle="", marker="|", markeredgewidth=2, markersize=8,
                  label="published gain" + ", as a share of the error" * scaled)  # fmt: skip
    unlike = Line2D([], [], color=_GREY, linestyle="", marker=SIGNS[NOT_COMPARABLE][2],
                    markerfacecolor="white", label=NOT_COMPARABLE)  # fmt: skip
    return [
        Line2D([], [], color="black", linewidth=0.9, marker="|", label=LABEL),
        Line2D([], [], color="black", linewidth=2.6, label="Student's interval"),
        *([gain] if gains else []),
        *([unlike] if any(test.unlike for test in tests) else []),
        Patch(color="0.9", label="margin: differences that do not matter"),
    ]
