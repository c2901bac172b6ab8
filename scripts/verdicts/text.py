"""Verdicts as tables: a row for each claim, and a row for each comparison."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from scripts.tables.formats import MISSING, pipes
from scripts.titles import title
from scripts.verdicts.claims import Claim
from scripts.verdicts.intervals import MOST_SEEDS, Paired, needed_seeds
from scripts.verdicts.judge import (
    CONTRADICTED,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    Tested,
    Verdict,
)

OTHER_BASE = ", other base"
# A verdict's cell, with the verdict's word
WORDS = {word + more: word for word in VERDICTS for more in ("", OTHER_BASE)}
HEADER = ("Claim", "Source", "Verdict", "n", "Mean difference", "Published", "g", "Seeds needed")


def files(verdicts: list[Verdict], scale: str, level: float) -> dict[str, str]:
    """Takes the verdicts of a scale, returns the text of verdicts.{csv,md} and of pairs.csv."""
    claims = [_claim_row(verdict) for verdict in verdicts]
    pairs = [
        _pair_row(verdict.claim, test, level) for verdict in verdicts for test in verdict.tested
    ]
    texts = {"verdicts.md": markdown(verdicts, scale, level)}
    for name, rows in (("verdicts", claims), ("pairs", pairs)):
        frame = pd.DataFrame([{"scale": scale, **cells} for cells in rows])
        texts[f"{name}.csv"] = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return texts


def _claim_row(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    counts = Counter(test.verdict for test in verdict.tested)
    return {
        "claim": claim.text,
        "source": claim.source,
        "family": claim.family,
        "verdict": verdict.verdict,
        "other_base": " ".join(base.arm for base in verdict.unlike),
        "pairs": len(verdict.tested),
        "at_least": claim.at_least,
        **{word.replace(" ", "_"): counts[word] for word in VERDICTS},
    }


def _pair_row(claim: Claim, test: Tested, level: float) -> dict[str, Any]:
    """A comparison with its seeds and run folders (under runs/<scale>)."""
    pair, measured = test.pair, test.measured
    folders = [
        f"{pair.experiment}/{arm}/seed{seed}"
        for arm in (*pair.arms, *pair.than)
        for seed in measured.seeds
    ]
    return {
        "claim": claim.text,
        "source": claim.source,
        "pair": pair.label,
        "statistic": pair.statistic,
        "claimed": f"{'above' if pair.sign > 0 else 'below'} {pair.bound:g}",
        "verdict": test.verdict,
        "published": pair.published,
        "first": measured.first,
        "second": measured.second,
        **test.result._asdict(),
        "seeds_needed": needed_seeds(test.result.effect, level),
        "p_holm": test.adjusted,
        "diverged": diverged([test]),
        "mixed": " ".join(map(str, measured.mixed)),
        "differences": " ".join(f"{value:.6g}" for value in measured.differences),
        "runs": " ".join(folders),
    }


def interval(result: Paired, digits: int = 2) -> str:
    """`+0.31 [+0.02, +0.60]`, without an interval for one seed, or a dash for none."""
    if not result.n:
        return MISSING
    mean = f"{result.mean:+.{digits}f}"
    if math.isnan(result.low):
        return mean
    return f"{mean} [{result.low:+.{digits}f}, {result.high:+.{digits}f}]"


def needed(effect: float, level: float) -> str:
    """The number of seeds that 80 % power would need, or a dash; `4 (against)` for an effect that
    speaks against the claim."""
    seeds = needed_seeds(effect, level)
    if math.isnan(seeds):
        return MISSING
    if math.isinf(seeds):
        return f"> {MOST_SEEDS}"
    return f"{seeds:.0f}" + (" (against)" if effect < 0 else "")


def diverged(tested: Sequence[Tested]) -> str:
    """`adam+lrd0.5 at seed 0, 1`, of the pairs' runs that diverged; empty if none did."""
    lost: dict[str, set[int]] = {}
    for test in tested:
        for arm, seeds in test.measured.diverged.items():
            lost.setdefault(arm, set()).update(seeds)
    words = [f"{arm} at seed {', '.join(map(str, sorted(seeds)))}" for arm, seeds in lost.items()]
    return "; ".join(words)


def seeds_of(verdict: Verdict) -> str:
    """`3`, or `1–3` where the pairs differ."""
    counts = [test.result.n for test in verdict.tested]
    return "–".join(dict.fromkeys(str(count) for count in (min(counts), max(counts))))


def evidence(verdict: Verdict) -> str:
    """A claim's number: its pair's difference, or how many pairs speak for and against it."""
    if verdict.verdict == NOT_RUN:
        return MISSING
    tested = [test for test in verdict.tested if test.result.n]
    pair = verdict.claim.pairs[0]
    if len(verdict.tested) > 1:
        text = _several(verdict, [test.result.mean for test in tested])
    elif tested:
        text = interval(tested[0].result, pair.digits) + pair.unit
    else:
        text = MISSING
    lost = diverged(verdict.tested)
    return text + (f"; diverged: {lost}" if lost else "")


def _several(verdict: Verdict, means: list[float]) -> str:
    """`1 of 2 significantly so, 0 significantly not; means -0.90 to +3.50 points`."""
    counts = Counter(test.verdict for test in verdict.tested)
    total, asked = len(verdict.tested), verdict.claim.at_least
    text = (
        f"{counts[SUPPORTED]} of {total} significantly so"
        + (f" ({asked} needed)" if asked < total else "")
        + f", {counts[CONTRADICTED]} significantly not"
        + (f", {counts[NOT_RUN]} not run" if counts[NOT_RUN] else "")
    )
    if not means:
        return text
    digits, unit = verdict.claim.pairs[0].digits, verdict.claim.pairs[0].unit
    return f"{text}; means {min(means):+.{digits}f} to {max(means):+.{digits}f}{unit}"


def markdown(verdicts: list[Verdict], scale: str, level: float) -> str:
    """The claims' table as Markdown."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    totals = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    table = pipes(HEADER, [row(verdict, level) for verdict in verdicts])
    lines = [f"- {line}" for line in (*notes(level), *unlike(verdicts))]
    return "\n".join([f"Claims at scale {scale}: {totals}.", "", table, "", *lines, ""])


def row(verdict: Verdict, level: float) -> list[str]:
    """A claim's cells."""
    alone = verdict.tested[0] if len(verdict.tested) == 1 else None
    pairs = verdict.claim.pairs
    difference = pairs[0].published if len(pairs) == 1 else None
    effect = alone.result.effect * alone.pair.sign if alone else math.nan
    return [
        verdict.claim.text,
        verdict.claim.source,
        word(verdict),
        MISSING if verdict.verdict == NOT_RUN else seeds_of(verdict),
        evidence(verdict),
        MISSING if difference is None else f"{difference:+g}",
        MISSING if math.isnan(effect) else f"{effect:+.1f}",
        needed(effect, level),
    ]


def word(verdict: Verdict) -> str:
    """`supported`, or `supported, other base` where that is not the paper's."""
    other = verdict.unlike and verdict.verdict != NOT_RUN
    return verdict.verdict + (OTHER_BASE if other else "")


def notes(level: float) -> list[str]:
    """How the table is to be read."""
    return [
        f"n: seeds that both sides have. In brackets: the {100 * (1 - level):g} % t interval of "
        "the mean paired difference, not corrected for the other claims. g: Hedges' g of the "
        "pairs, Cohen's d corrected for few seeds, against the claim's bound; positive speaks for "
        "the claim.",
        f"Verdict: two-sided paired t test, Holm-corrected within the claim's family at "
        f"{level:g}. One seed decides nothing, nor do seeds that differ by exactly the same. A "
        "claim of several comparisons says how many of them are significant; pairs.csv has each, "
        "and in its column `mixed` the seeds whose two sides were run on different processors, "
        "where rounding differs as well.",
        "Seeds needed: for a power of 80 % without correction, if the effect were what these "
        "seeds show; from few seeds it is no more than a hint.",
        "Other base: an arm that is compared with ends far from the paper's value for it (by the "
        "limits in conf/claims.yaml), so the claim is tested against another base than the "
        "paper's.",
    ]


def unlike(verdicts: Iterable[Verdict]) -> list[str]:
    """The bases that are not the paper's, with the claims' experiment."""
    lines: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        for base in verdict.unlike if verdict.verdict != NOT_RUN else []:
            text = f"{base.arm} {base.here:.4g} ({base.published:.4g})"
            lines.setdefault(verdict.claim.experiment, {})[text] = None
    return [
        f"Other bases in {title(experiment)}, last epoch here (published): {', '.join(words)}."
        for experiment, words in lines.items()
    ]
