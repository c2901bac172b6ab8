"""Verdicts as tables: a row for each claim, and a row for each comparison."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from experiments.identity import place_of
from scripts.item import OPTIMIZERS
from scripts.tables.formats import MISSING, pipes, plain, span
from scripts.verdicts.claim import Claims, Pair, arms_run
from scripts.verdicts.compare import image_interval
from scripts.verdicts.gates import base_of
from scripts.verdicts.intervals import LEVEL
from scripts.verdicts.judge import (
    DIRECTIONS,
    NO_EFFECT,
    NOT_COMPARABLE,
    NOT_RUN,
    VERDICTS,
    Tested,
    Verdict,
)

LATE, EXPLORATORY = "†", "‡"
HEADER = (
    "Claim", "Source", "Verdict", "n", "Mean difference", "Student's interval", "Published",
    "Margin",
)  # fmt: skip


def files(verdicts: list[Verdict], scale: str, claims: Claims) -> dict[str, str]:
    """Takes the verdicts of a scale, returns the text of verdicts.{csv,md} and of pairs.csv."""
    rows = [_claim_row(verdict) for verdict in verdicts]
    pairs = [_pair_row(verdict, test) for verdict in verdicts for test in verdict.tested]
    texts = {"verdicts.md": markdown(verdicts, scale, claims)}
    for name, cells in (("verdicts", rows), ("pairs", pairs)):
        frame = pd.DataFrame([{"scale": scale, **row} for row in cells])
        texts[f"{name}.csv"] = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return texts


def _claim_row(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    return {
        "claim": claim.text,
        "source": claim.source,
        "family": claim.family,
        "stated": claim.stated,
        "exploratory": claim.exploratory,
        "verdict": verdict.verdict,
        "alone": "" if verdict.verdict in DIRECTIONS else verdict.alone,
        "negligible": verdict.negligible,
        "written_after_runs": verdict.late,
        "p": verdict.p,
        "p_adjusted": verdict.adjusted,
        "n": seeds_of(verdict),
        "comparisons": len(verdict.tested),
        "counted": sum(test.counts for test in verdict.tested),
        "at_least": claim.at_least,
    }


def _pair_row(verdict: Verdict, test: Tested) -> dict[str, Any]:
    """A comparison with its seeds and run folders (under runs/<scale>)."""
    pair, measured, result = test.pair, test.measured, test.result
    folders = [
        place_of(run.folder)
        for of_arm in zip_longest(*measured.runs)  # a seed may have more rates than another
        for run in of_arm
        if run is not None
    ]
    simple = isinstance(pair, Pair)
    images = image_interval(measured, pair)
    side = ("above" if pair.sign > 0 else "below") if simple else ""
    return {
        "claim": verdict.claim.text,
        "source": verdict.claim.source,
        "pair": pair.label,
        "statistic": pair.statistic,
        "claimed": f"{side} {pair.bound:g}" if simple else "in this order",
        "published": pair.published,
        "published_here": test.gain,
        "margin": pair.margin,
        "first": measured.first,
        "second": measured.second,
        **result._asdict(),
        "correlation": _correlation(measured.values),
        "images_low": images[0],
        "images_high": images[1],
        "p": min(test.holds, test.fails) if measured.seeds else math.nan,
        "not_comparable": test.unlike,
        "mixed": " ".join(map(str, measured.mixed)),
        "silent": " ".join(map(str, measured.silent)),
        "differences": " ".join(f"{value:.6g}" for value in measured.differences),
        "runs": " ".join(folders),
    }


def _correlation(values: Any) -> float:
    """Of the two sides over seeds: what pairing by seed gains; NaN where a side does not vary."""
    ends = values[:, [0, -1]]
    varies = len(values) > 2 and ends.std(0).all()
    return float(np.corrcoef(ends.T)[0, 1]) if varies else math.nan


def interval(mean: float, low: float, high: float, digits: int = 2) -> str:
    """`+0.31 [+0.02, +0.60]`, without an interval where there is none, or a dash for no seed."""
    if math.isnan(mean):
        return MISSING
    text = f"{mean:+.{digits}f}"
    return text if math.isnan(low) else f"{text} [{low:+.{digits}f}, {high:+.{digits}f}]"


def seeds_of(verdict: Verdict) -> str:
    """`3`, or `1–3` where the comparisons that count differ; of none that counts, of all."""
    tests = [test for test in verdict.tested if test.counts] or verdict.tested
    return span(len(test.measured.seeds) for test in tests)


def left_out(verdict: Verdict) -> str:
    """`without RAdam`, of a mean over optimizers that leaves some out."""
    made = {arm for test in verdict.tested for arm in arms_run(test.pair)}
    left = dict.fromkeys(base_of(arm) for arm in verdict.claim.arms if arm not in made)
    return f"without {', '.join(OPTIMIZERS.get(name, name) for name in left)}" if left else ""


def evidence(verdict: Verdict) -> str:
    """A claim's number: its pair's difference, or the range of its pairs' means."""
    if not any(test.measured.seeds for test in verdict.tested):
        return MISSING
    digits, unit = verdict.claim.digits, verdict.claim.unit
    if len(verdict.tested) == 1:
        result, without = verdict.tested[0].result, left_out(verdict)
        ends = interval(result.mean, result.low, result.high, digits)
        return ends + unit + f" ({without})" * bool(without)
    tested = [test for test in verdict.tested if test.counts]
    means = [test.result.mean for test in tested]
    if not means:
        return MISSING
    toward = sum((of.result.mean - of.pair.bound) * of.pair.sign > 0 for of in tested)
    unlike = sum(bool(test.unlike) for test in verdict.tested)
    others = f" ({unlike} not comparable)" * bool(unlike)
    return (
        f"{toward} of {len(means)} as claimed{others}; means {min(means):+.{digits}f} to "
        f"{max(means):+.{digits}f}{unit}"
    )


def markdown(verdicts: list[Verdict], scale: str, claims: Claims) -> str:
    """The table of the claims that were run, as Markdown; verdicts.csv has the others too."""
    totals = listed(Counter(verdict.verdict for verdict in verdicts))
    table = pipes(HEADER, [row(verdict) for verdict in verdicts if verdict.verdict != NOT_RUN])
    lines = [f"- {line}" for line in (*notes(claims), *reasons(verdicts))]
    return "\n".join([f"Claims at scale {scale}: {totals}. Those run:", "", table, "", *lines, ""])


def listed(counts: Counter[str]) -> str:
    """`3 supported, 2 undecided`, and a direction as the word that it is."""
    words = {word: word for word in (*VERDICTS, *DIRECTIONS, NOT_RUN)}
    words |= {word: f"*{word}*" for word in DIRECTIONS}
    return ", ".join(f"{counts[word]} {text}" for word, text in words.items() if counts[word])


def row(verdict: Verdict) -> list[str]:
    """The cells of a claim that was run."""
    claim, test, single = verdict.claim, verdict.tested[0], len(verdict.tested) == 1
    result = test.result
    student = interval(result.mean, result.student_low, result.student_high, claim.digits)
    margin = test.pair.margin
    return [
        plain(claim.text) + (f" {LATE}" if verdict.late else ""),
        plain(claim.source) + (f" {EXPLORATORY}" if claim.exploratory else ""),
        word(verdict),
        seeds_of(verdict),
        evidence(verdict),
        student if single else MISSING,
        _gain(test) if single else MISSING,
        MISSING if margin is None else f"±{margin:g}",
    ]


def _gain(test: Tested) -> str:
    """`+0.24`, or `+0.24 (here +1.08)` where the verdict is about its share of another error."""
    published = test.pair.published
    if published is None:
        return MISSING
    here = "" if test.gain in (None, published) else f" (here {test.gain:+.3g})"
    return f"{published:+.3g}{here}"


def word(verdict: Verdict) -> str:
    """`no effect (within ±0.1)`, `not comparable (here: undecided)`, `supported, negligible`."""
    text = verdict.verdict
    margins = {test.pair.margin for test in verdict.tested}
    if text == NO_EFFECT and len(margins) == 1:
        text += f" (within ±{margins.pop():g})"
    if text == NOT_COMPARABLE and verdict.alone:
        text += f" (here: {verdict.alone})"
    elif verdict.alone and text not in DIRECTIONS:
        text += f" (alone: {verdict.alone})"
    return text + (", negligible" if verdict.negligible else "")


def notes(claims: Claims) -> list[str]:
    """How the table is to be read."""
    percent = 100 * (1 - LEVEL)
    return [
        "n: seeds at which all sides ran, on processors of one type (of a mean of pairs, each "
        "pair); pairs.csv names in `mixed` those that did not, which are left out, and in `silent` "
        "those that can tell nothing: by construction both sides are alike, or a range of rates "
        "does not end within those run.",
        f"In brackets: the {percent:g} % interval of the mean difference that stays valid when "
        "seeds are added until it decides (the Bayes factor's of a t test; Rouder et al., 2009), "
        "for differences that are near normal; of runs of two kinds, as Adam's on MNIST and "
        "RMSprop's on Tiny Shakespeare, up to 8 % miss in simulation. It is over seeds: of the one "
        "test set, pairs.csv has the uncertainty (`images_low`, `images_high`). "
        "Student's, beside it, is narrower and holds for a number of seeds fixed beforehand.",
        "Verdict: what this interval excludes of 0 (or the claim's bound), the published gain, "
        "and the margin, by the rules at the head of conf/claims.yaml; with fewer than 4 seeds, or "
        "while one of its comparisons has none, nothing is decided. Supported and contradicted "
        f"are corrected for the other claims of the family (Holm) or, {EXPLORATORY}, "
        "for all questions of our own at the scale (Benjamini and Hochberg: of those supported or "
        f"contradicted {claims.false_findings:.0%} may be false), which are exploratory; `alone`: "
        "what would follow without. The others are not corrected.",
        "Of an order of arms, Page's test at the stated seeds: whether they tend to rise, and "
        "not whether each differs from the next. Its mean difference is the last arm less the "
        "first.",
        "Published: the paper's difference. At other scales than the paper's the verdict is about "
        "its share of the error, `here`: what it takes off the paper's base's error, off ours.",
        f"{LATE}: the claim, or the margin that its verdict rests on, was written after the first "
        "of its runs.",
        "Not comparable: a side collapsed (its training loss ends above its first epoch's) or "
        "diverged, or the base ends far from the paper's; `here` is what follows against the base "
        "of this suite, without correction.",
    ]


def reasons(verdicts: Iterable[Verdict]) -> list[str]:
    """What cannot be compared, by experiment."""
    lines: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        for test in verdict.tested if verdict.verdict != NOT_RUN else []:
            if test.unlike:
                lines.setdefault(verdict.claim.experiment, {})[test.unlike] = None
    return [f"Not comparable in {name}: {'; '.join(words)}." for name, words in lines.items()]
