"""Of the report: the verdicts, each at the scale at which its claim was run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from experiments.record.reader import Run
from scripts.report import gaps
from scripts.tables.formats import MISSING, pipes
from scripts.verdicts import text as verdicts
from scripts.verdicts.claims import Claims, Cost
from scripts.verdicts.intervals import Paired
from scripts.verdicts.judge import NOT_RUN, UNDECIDED, VERDICTS, Verdict, judge_cost

SCALES = ("paper", "lite")  # in the order of preference; smoke runs are no evidence


class Results(NamedTuple):
    """What the report is made of."""

    folder: Path
    runs: dict[str, list[Run]]  # by scale
    claims: Claims
    verdicts: dict[str, list[Verdict]]  # by scale


def _shown(results: Results) -> list[tuple[str | None, Verdict]]:
    """Each claim's verdict, at the first scale at which all that it compares has been run, else
    at the first at which some of it has; None if none of it has been."""
    found = []
    for number, claim in enumerate(results.claims.claims):
        at_scale = [(scale, each[number]) for scale, each in results.verdicts.items()]
        run = [(scale, each) for scale, each in at_scale if each.verdict != NOT_RUN]
        whole = [
            (scale, each)
            for scale, each in run
            if all(tested.verdict != NOT_RUN for tested in each.tested)
        ]
        found.append(next(iter([*whole, *run]), (None, Verdict(claim, [], NOT_RUN, []))))
    return found


def verdict_counts(results: Results) -> str:
    """How many claims have which verdict, at each scale."""
    shown = _shown(results)
    costs = [_judged(results, cost)[1] for cost in results.claims.costs]
    total = len(shown) + len(costs)
    lines = []
    for scale in SCALES:
        at_scale = [verdict for name, verdict in shown if name == scale]
        counts = Counter(each.verdict for each in at_scale)
        words = [
            f"**{counts[word]} {word}**{_other_bases(at_scale, word)}"
            for word in VERDICTS
            if word != NOT_RUN
        ]
        if at_scale:
            lines.append(f"{len(at_scale)} at {scale} scale: {', '.join(words)}")
    counts = Counter(costs)
    words = [f"**{counts[word]} {word}**" for word in VERDICTS if counts[word]]
    lines.append(f"{len(costs)} about the cost of a step or epoch: {', '.join(words)}")
    if never := sum(name is None for name, _ in shown):
        lines.append(f"**{never} not run**")
    return f"There are {total} claims of the paper and questions of our own: {'; '.join(lines)}."


def _other_bases(verdicts: list[Verdict], word: str) -> str:
    """How many of the verdicts of a kind that decides are against another base than the paper's."""
    count = sum(each.verdict == word and bool(each.unlike) for each in verdicts)
    if not count or word == UNDECIDED:
        return ""
    return f" ({count} of them against another base than the paper's)"


def verdict_table(results: Results) -> str:
    """Every claim with its verdict, the claims about cost last, and how to read it."""
    header = [*verdicts.HEADER]
    header.insert(header.index("n"), "Scale")
    commands = {(each.sweep, each.experiment): each.command(SCALES[0]) for each in gaps.wanted()}
    rows, shown = [], _shown(results)
    for scale, verdict in shown:
        cells = verdicts.row(verdict, results.claims.level)
        if verdict.verdict == NOT_RUN:
            command = commands[verdict.claim.sweep, verdict.claim.experiment]
            cells[verdicts.HEADER.index("Mean difference")] = f"`{command}`"
        cells.insert(header.index("Scale"), scale or MISSING)
        rows.append(cells)
    rows += [_cost_row(results, cost) for cost in results.claims.costs]
    links = ", ".join(
        f"[{scale}](tables/{scale}/verdicts.md) ([every comparison](tables/{scale}/pairs.csv))"
        for scale in results.verdicts
    )
    notes = [
        *verdicts.notes(results.claims.level),
        *verdicts.unlike(verdict for _, verdict in shown),
        f"By scale: {links}.",
    ]
    return "\n\n".join([pipes(header, rows), "\n".join(f"- {note}" for note in notes)])


def _judged(results: Results, cost: Cost) -> tuple[Paired, str]:
    return judge_cost(cost, results.folder / "benchmark.csv", results.claims.level)


def _cost_row(results: Results, cost: Cost) -> list[str]:
    """A claim about the benchmark, whose rounds stand for seeds."""
    result, verdict = _judged(results, cost)
    rounds, found = MISSING, "`make benchmark`"
    if result.n:
        rounds = f"{result.n} rounds"
        found = f"ratio {result.mean:.3f} [{result.low:.3f}, {result.high:.3f}]"
    return [cost.text, cost.source, verdict, MISSING, rounds, found, MISSING, MISSING, MISSING]
