"""Of the report: the verdicts, each at the scale at which its claim was run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

from scripts.report.markup import literal, picture
from scripts.report.missing import command_of
from scripts.report.results import SCALES, Results
from scripts.tables.formats import MISSING, capital, pipes, plain
from scripts.titles import anchor
from scripts.verdicts.claim import Cost
from scripts.verdicts.cost import Ratio, judge_cost
from scripts.verdicts.judge import (
    DECIDED,
    DIRECTIONS,
    NOT_COMPARABLE,
    NOT_RUN,
    VERDICTS,
    Verdict,
    judged,
)
from scripts.verdicts.text import HEADER, evidence, listed, notes, reasons, row, word

_PLACE = HEADER.index("n")  # of the column Scale, which the tables of one scale lack
_DIFFERENCE = HEADER.index("Mean difference")

Shown = list[tuple[str | None, Verdict]]


def shown(results: Results) -> Shown:
    """Each claim's verdict, at the first scale at which all that it compares has been run, else
    at the first at which some of it has; None if none of it has been."""
    rows: Shown = []
    for number, claim in enumerate(results.claims.claims):
        begun = [
            (scale, verdicts[number])
            for scale, verdicts in results.verdicts.items()
            if verdicts[number].verdict != NOT_RUN
        ]
        whole = [
            (scale, verdict)
            for scale, verdict in begun
            if all(test.measured.seeds or test.measured.diverged for test in verdict.tested)
        ]
        never = Verdict(claim, [], NOT_RUN, 1.0, 1.0)
        rows.append(next(iter([*whole, *begun]), (None, never)))
    return rows


def plain_lines(results: Results) -> str:
    """The report's first lines: what was decided, family by family, and last what was not."""
    rows = shown(results)
    lines = [_counts(results, rows)]
    families: dict[tuple[str, str], list[Verdict]] = {}
    for scale, verdict in rows:
        if scale in verdict.claim.judged_at:
            families.setdefault((verdict.claim.family, scale), []).append(verdict)
    undecided: list[str] = []
    for (name, scale), members in families.items():
        told = _told(members)
        if any(verdict.verdict in DECIDED for verdict in members):
            lines.append(f"**{plain(capital(name))}**, scale {scale}{_better(members)}: {told}.")
        else:
            undecided.append(f"{plain(name)}, scale {scale} ({told})")
    if undecided:
        lines.append(f"**Nothing is decided** of {'; of '.join(undecided)}.")
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _better(members: list[Verdict]) -> str:
    """`, lower is better`, where that is so of all that is compared."""
    falls = {verdict.claim.falls for verdict in members}
    return f", {'lower' if falls.pop() else 'higher'} is better" if len(falls) == 1 else ""


def _counts(results: Results, rows: Shown) -> str:
    """How many claims have which verdict, at each scale: those of papers, and our own."""
    costs = Counter(_judged(results, cost)[1] for cost in results.claims.costs)
    about = f"{costs.total()} about the cost of a step or epoch ({listed(costs)})"
    papers = [(scale, verdict) for scale, verdict in rows if not verdict.claim.own]
    others = [(scale, verdict) for scale, verdict in rows if verdict.claim.own]
    return (
        f"There are {len(papers) + costs.total()} claims of the paper and of later ones: "
        f"{_by_scale(papers)}; {about}. And {len(others)} questions of our own: "
        f"{_by_scale(others)}."
    )


def _by_scale(rows: Shown) -> str:
    """`4 at mid scale (4 undecided); 9 at lite scale, directions that are no verdicts (…)`."""
    words = []
    for scale, kinds in product(SCALES, (VERDICTS, DIRECTIONS)):
        of_kind = [v.verdict for name, v in rows if name == scale and v.verdict in kinds]
        note = ", directions that are no verdicts" if kinds is DIRECTIONS else ""
        if of_kind:
            words.append(f"{len(of_kind)} at {scale} scale{note} ({listed(Counter(of_kind))})")
    if never := sum(scale is None for scale, _ in rows):
        words.append(f"{never} not run")
    return "; ".join(words)


def _told(members: list[Verdict]) -> str:
    """A family's decided claims with their numbers, and how many others there are."""
    told = [
        f"*{word(verdict)}*: {plain(verdict.claim.text)} ({evidence(verdict)})"
        for verdict in members
        if verdict.verdict in DECIDED
    ]
    others = Counter(verdict.verdict for verdict in members if verdict.verdict not in DECIDED)
    here = [v for v in members if v.verdict == NOT_COMPARABLE and v.alone in DECIDED]
    counts = [f"{count} {name}" for name, count in others.items()]
    if here:
        alone = Counter(verdict.alone for verdict in here)
        words = ", ".join(f"{count} {name}" for name, count in alone.items())
        counts.append(f"against the base of this suite, {words}")
    return "; ".join([*told, *counts])


def verdict_sections(results: Results) -> Iterator[str]:
    """Each family's forests and table of claims, the claims about cost, and how to read them."""
    header = [*HEADER[:_PLACE], "Scale", *HEADER[_PLACE:]]
    families: dict[str, Shown] = {}
    rows = shown(results)
    for number, (scale, verdict) in enumerate(rows):
        members = families.setdefault(verdict.claim.family, [])
        members += [(scale, verdict), *_elsewhere(results, number, scale)]
    for name, members in families.items():
        yield f"### {literal(capital(name))}"
        yield from _forests(results, name, members)
        yield pipes(header, [_row(scale, verdict) for scale, verdict in members])
    yield "### Cost"
    yield pipes(header, [_cost_row(results, cost) for cost in results.claims.costs])
    yield "### How to read the verdicts"
    yield "\n".join(f"- {line}" for line in _notes(results, (verdict for _, verdict in rows)))


def _forests(results: Results, name: str, members: Shown) -> Iterator[str]:
    """The forest plot of a family at every scale at which some of it is judged."""
    for scale in results.verdicts:
        if any(judged([verdict], scale) for at, verdict in members if at == scale):
            text = f"{capital(name)}, scale {scale}: the intervals of the differences"
            yield picture(f"figures/{scale}/forest/{anchor(name)}.png", text)


def _elsewhere(results: Results, number: int, shown_at: str | None) -> Shown:
    """A claim's verdicts at the other scales at which it is judged, if some of it was run there."""
    return [
        (scale, verdicts[number])
        for scale, verdicts in results.verdicts.items()
        if scale != shown_at and judged([verdicts[number]], scale)
    ]


def _row(scale: str | None, verdict: Verdict) -> list[str]:
    if scale is None:
        claim = verdict.claim
        cells = [plain(claim.text), plain(claim.source), NOT_RUN, *[MISSING] * (len(HEADER) - 3)]
        cells[_DIFFERENCE] = f"`{command_of(claim, SCALES[0])}`"
    else:
        cells = row(verdict)
    return [*cells[:_PLACE], scale or MISSING, *cells[_PLACE:]]


def _notes(results: Results, verdicts: Iterable[Verdict]) -> list[str]:
    links = ", ".join(
        f"[{scale}](tables/{scale}/verdicts.md) ([every comparison](tables/{scale}/pairs.csv))"
        for scale in results.verdicts
    )
    return [
        *notes(results.claims),
        *reasons(verdicts),
        "At lite scale training is far from its end, but for claims that are `judged_at` it: "
        "`points for` and `points against` say where all seeds of enough comparisons lie, and "
        "decide nothing.",
        f"By scale: {links}.",
    ]


def _judged(results: Results, cost: Cost) -> tuple[Ratio, str]:
    return judge_cost(cost, results.folder / "benchmark.csv")


def _cost_row(results: Results, cost: Cost) -> list[str]:
    """A claim about the benchmark, whose rounds stand for seeds."""
    result, verdict = _judged(results, cost)
    rounds, ratio = MISSING, "`make benchmark`"
    if result.n:
        rounds = f"{result.n} rounds"
        ends = "" if math.isnan(result.low) else f" [{result.low:.3f}, {result.high:.3f}]"
        ratio = f"median ratio {result.median:.3f}{ends}"
    return [plain(cost.text), plain(cost.source), verdict, MISSING, rounds, ratio, *[MISSING] * 3]
