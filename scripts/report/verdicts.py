"""Of the report: the verdicts, each at the scale at which its claim was run."""

from __future__ import annotations

from collections import Counter

from scripts.report.missing import command_of
from scripts.report.results import SCALES, Results
from scripts.tables.formats import MISSING, pipes
from scripts.verdicts.claims import Cost
from scripts.verdicts.intervals import Paired
from scripts.verdicts.judge import NOT_RUN, UNDECIDED, VERDICTS, Verdict, judge_cost
from scripts.verdicts.text import HEADER, notes, row, unlike

_SCALE = HEADER.index("n")  # the place of a column that the tables of one scale lack


def _shown(results: Results) -> list[tuple[str | None, Verdict]]:
    """Each claim's verdict, at the first scale at which all that it compares has been run, else
    at the first at which some of it has; None if none of it has been."""
    shown = []
    for number, claim in enumerate(results.claims.claims):
        begun = [
            (scale, verdicts[number])
            for scale, verdicts in results.verdicts.items()
            if verdicts[number].verdict != NOT_RUN
        ]
        whole = [
            (scale, verdict)
            for scale, verdict in begun
            if all(test.verdict != NOT_RUN for test in verdict.tested)
        ]
        shown.append(next(iter([*whole, *begun]), (None, Verdict(claim, [], NOT_RUN, []))))
    return shown


def verdict_counts(results: Results) -> str:
    """How many claims have which verdict, at each scale."""
    shown = _shown(results)
    costs = Counter(_judged(results, cost)[1] for cost in results.claims.costs)
    lines = []
    for scale in SCALES:
        verdicts = [verdict for name, verdict in shown if name == scale]
        counts = Counter(verdict.verdict for verdict in verdicts)
        words = [
            f"**{counts[word]} {word}**{_other_bases(verdicts, word)}"
            for word in VERDICTS
            if word != NOT_RUN
        ]
        if verdicts:
            lines.append(f"{len(verdicts)} at {scale} scale: {', '.join(words)}")
    words = [f"**{costs[word]} {word}**" for word in VERDICTS if costs[word]]
    lines.append(f"{costs.total()} about the cost of a step or epoch: {', '.join(words)}")
    if never := sum(scale is None for scale, _ in shown):
        lines.append(f"**{never} not run**")
    total = len(shown) + costs.total()
    return f"There are {total} claims of the paper and questions of our own: {'; '.join(lines)}."


def _other_bases(verdicts: list[Verdict], word: str) -> str:
    """How many of the verdicts of a kind that decides are against another base than the paper's."""
    count = sum(verdict.verdict == word and bool(verdict.unlike) for verdict in verdicts)
    if not count or word == UNDECIDED:
        return ""
    return f" ({count} of them against another base than the paper's)"


def verdict_table(results: Results) -> str:
    """Every claim with its verdict, the claims about cost last, and how to read it."""
    header = [*HEADER[:_SCALE], "Scale", *HEADER[_SCALE:]]
    rows, shown = [], _shown(results)
    for scale, verdict in shown:
        cells = row(verdict, results.claims.level)
        if verdict.verdict == NOT_RUN:
            cells[HEADER.index("Mean difference")] = f"`{command_of(verdict.claim, SCALES[0])}`"
        rows.append([*cells[:_SCALE], scale or MISSING, *cells[_SCALE:]])
    rows += [_cost_row(results, cost) for cost in results.claims.costs]
    links = ", ".join(
        f"[{scale}](tables/{scale}/verdicts.md) ([every comparison](tables/{scale}/pairs.csv))"
        for scale in results.verdicts
    )
    lines = [
        *notes(results.claims.level),
        *unlike(verdict for _, verdict in shown),
        f"By scale: {links}.",
    ]
    return "\n\n".join([pipes(header, rows), "\n".join(f"- {line}" for line in lines)])


def _judged(results: Results, cost: Cost) -> tuple[Paired, str]:
    return judge_cost(cost, results.folder / "benchmark.csv", results.claims.level)


def _cost_row(results: Results, cost: Cost) -> list[str]:
    """A claim about the benchmark, whose rounds stand for seeds."""
    result, verdict = _judged(results, cost)
    rounds, ratio = MISSING, "`make benchmark`"
    if result.n:
        rounds = f"{result.n} rounds"
        ratio = f"ratio {result.mean:.3f} [{result.low:.3f}, {result.high:.3f}]"
    return [cost.text, cost.source, verdict, MISSING, rounds, ratio, MISSING, MISSING, MISSING]
