"""Claims judged on run folders: differences over seeds, and the verdicts that follow."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from experiments.record.reader import Runs
from scripts.gather import Experiment, gather
from scripts.verdicts.claim import LEAST_SEEDS, Claim, Claims, Pair, Trend
from scripts.verdicts.compare import Measured, measure, published_values
from scripts.verdicts.gates import Unlike, base_of, mean_of_family, reason, unlike_arms
from scripts.verdicts.intervals import (
    LEVEL,
    Paired,
    benjamini_hochberg,
    holm,
    p_value,
    page,
    paired,
    partial_conjunction,
)

SUPPORTED, SMALLER = "supported", "supported, smaller than published"
CONTRADICTED, NO_EFFECT = "contradicted", "no effect"
EXCLUDED, UNDECIDED = "published gain excluded", "undecided"
NOT_COMPARABLE, NOT_RUN = "not comparable", "not run"
FOR, AGAINST, MIXED = "points for", "points against", "points nowhere"  # directions, no verdicts
DECIDED = (SUPPORTED, SMALLER, CONTRADICTED, NO_EFFECT, EXCLUDED)
VERDICTS = (*DECIDED, UNDECIDED, NOT_COMPARABLE)
DIRECTIONS = (FOR, AGAINST, MIXED)


class Tested(NamedTuple):
    """A comparison, and the p values of what may be said of it; 1 where the mean is elsewhere."""

    pair: Pair | Trend
    measured: Measured
    result: Paired
    holds: float  # the mean is on the claimed side of the bound
    fails: float  # it is on the other
    falls_short: float  # it is short of the published difference
    no_effect: float  # it is within the margin of the bound
    gain: float | None  # the published difference, at a smaller scale its share of the base's error
    unlike: str  # why it cannot be compared with the paper; empty if it can

    @property
    def counts(self) -> bool:
        return bool(self.measured.seeds) and not self.unlike

    @property
    def pending(self) -> bool:
        """Whether it waits for its first seed that counts; a silent one is none."""
        measured = self.measured
        return not (measured.seeds or measured.silent or measured.diverged or self.unlike)

    @property
    def begun(self) -> bool:
        """Whether all its sides have a run of one seed, though it may count for nothing."""
        measured = self.measured
        return bool(measured.seeds or measured.silent or measured.diverged or measured.mixed)


class Verdict(NamedTuple):
    """A claim's verdict, and the comparisons from which it follows."""

    claim: Claim
    tested: list[Tested]
    verdict: str
    p: float  # of the claim, of either direction
    adjusted: float  # for the other claims of its family, or among the exploratory ones
    alone: str = ""  # what would follow but for a gate (scale, base) or the other claims
    negligible: bool = False  # all of the interval is within the margin, and it excludes 0
    late: bool = False  # the claim was written after the first of its runs


def judge(claims: Claims, runs: Runs, scale: str = "paper") -> list[Verdict]:
    """Takes the claims and the runs of one scale, returns the claims' verdicts in their order."""
    arms: dict[str, dict[str, None]] = defaultdict(dict)
    for claim in claims.claims:
        arms[claim.experiment] |= dict.fromkeys((*claim.arms, *map(base_of, claim.arms)))
    experiments = {name: gather(runs, name, wanted) for name, wanted in arms.items()}
    unlike = unlike_arms(claims, experiments, scale)
    tested = {}
    for claim in claims.claims:
        pairs, why = claim.comparisons, ""
        if claim.omnibus:
            pairs, why = mean_of_family(claim, claims, unlike)
        tests = [_test(pair, experiments[pair.experiment], claim, scale, unlike) for pair in pairs]
        tested[claim.text] = [test._replace(unlike=test.unlike or why) for test in tests]
    raw = {claim.text: _p(claim, tested[claim.text]) for claim in claims.claims}
    adjusted = _adjusted(claims, raw)
    return [
        _verdict(claim, tested[claim.text], raw[claim.text], adjusted[claim.text], claims, scale)
        for claim in claims.claims
    ]


def judged(verdicts: list[Verdict], scale: str) -> list[Verdict]:
    """Those of claims that were run at a scale and are judged there."""
    return [v for v in verdicts if scale in v.claim.judged_at and v.verdict != NOT_RUN]


def _test(
    pair: Pair | Trend, experiment: Experiment, claim: Claim, scale: str, unlike: Unlike
) -> Tested:
    measured = measure(pair, experiment)
    lost = "; ".join(
        f"{arm} diverged at seed {', '.join(map(str, seeds))}"
        for arm, seeds in measured.diverged.items()
    )
    if isinstance(pair, Trend):
        enough = len(measured.seeds) >= pair.seeds
        rises, falls = page(measured.values[: pair.seeds], pair.sign) if enough else (1.0, 1.0)
        ends = paired(measured.differences)
        why = lost or reason(pair, claim, None, unlike)
        return Tested(pair, measured, ends, rises, falls, 1.0, 1.0, None, why)
    result, gain = paired(measured.differences), _gain(pair, measured, scale)

    def beyond(value: float | None, sign: int) -> float:
        """The p value of a mean that is above (sign 1) or below (-1) a value."""
        if value is None or not (result.mean - value) * sign > 0:
            return 1.0
        return float(np.nan_to_num(p_value(result, value), nan=1.0))

    short = gain if gain is not None and (gain - pair.bound) * pair.sign > 0 else None
    inside = 1.0
    if pair.margin is not None:
        ends = ((pair.bound - pair.margin, 1), (pair.bound + pair.margin, -1))
        inside = max(beyond(value, sign) for value, sign in ends)
    return Tested(
        pair,
        measured,
        result,
        beyond(pair.bound, pair.sign),
        beyond(pair.bound, -pair.sign),
        beyond(short, -pair.sign),
        inside,
        gain,
        lost or reason(pair, claim, gain, unlike),
    )


def _gain(pair: Pair, measured: Measured, scale: str) -> float | None:
    """The published difference; at another scale than the paper's, the same share of the error."""
    if pair.published is None or scale == "paper":
        return pair.published
    if not measured.seeds:
        return None
    bases = [published_values().get((pair.experiment, arm)) for arm in pair.than]
    if None in bases or pair.column.unit.strip() != "points":
        return None
    error = 100 - float(np.mean([base for base in bases if base is not None]))
    return pair.published / error * (100 - measured.second)


def _p(claim: Claim, tested: list[Tested]) -> float:
    """The p value of a claim: that it holds, or that it cannot."""
    counted = [test for test in tested if test.counts]
    if not counted or any(test.pending for test in tested):
        return math.nan
    least = min(claim.at_least, len(counted))
    holds = partial_conjunction([test.holds for test in counted], least)
    fails = partial_conjunction([test.fails for test in counted], len(counted) - least + 1)
    return min(holds, fails)


def _adjusted(claims: Claims, raw: dict[str, float]) -> dict[str, float]:
    """Each claim's p value among the others: Holm's in a family of the paper's claims, after the
    claim about their mean if there is one; Benjamini and Hochberg's among the exploratory ones.
    """
    adjusted: dict[str, float] = {}
    families: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims.claims:
        families["" if claim.exploratory else claim.family].append(claim)
    for name, members in families.items():
        first = [claim.text for claim in members if claim.omnibus]
        rest = [claim.text for claim in members if not claim.omnibus]
        # a claim without runs is no test; one that is run later is corrected with all the others
        made = [text for text in rest if not math.isnan(raw[text])]
        correct = holm if name else benjamini_hochberg
        gate = max((raw[text] for text in first if not math.isnan(raw[text])), default=0.0)
        adjusted |= {text: raw[text] for text in first}
        adjusted |= dict.fromkeys(rest, math.nan)
        corrected = correct([raw[text] for text in made])
        adjusted |= {text: max(gate, p) for text, p in zip(made, corrected, strict=True)}
    return adjusted


def _verdict(
    claim: Claim, tested: list[Tested], p: float, adjusted: float, claims: Claims, scale: str
) -> Verdict:
    begun = [test for test in tested if test.begun]
    run = [test for test in tested if test.measured.seeds]
    if not run and not any(test.unlike for test in begun):
        return Verdict(claim, tested, UNDECIDED if begun else NOT_RUN, p, adjusted)
    first = min(
        (str(made.info.get("started", "9")) for t in run for of in t.measured.runs for made in of),
        default="9",
    )
    late = first < claim.stated
    level = claims.false_findings if claim.exploratory else LEVEL
    counted = [test for test in tested if test.counts]
    pending = any(test.pending for test in tested)
    if not counted and not pending:
        void = any(test.measured.diverged or "collapsed" in test.unlike for test in begun)
        alone = "" if void or not run else decide(claim, run, 0.0, level)[0]
        return Verdict(claim, tested, NOT_COMPARABLE, p, adjusted, alone, late=late)
    word, negligible, alone = UNDECIDED, False, ""
    if not pending:
        word, negligible = decide(claim, counted, adjusted, level)
        uncorrected, _ = decide(claim, counted, 0.0, level)
        alone = uncorrected if uncorrected != word else ""
    if scale not in claim.judged_at:
        return Verdict(claim, tested, _direction(claim, run), p, adjusted, word, late=late)
    late |= (word == NO_EFFECT or negligible) and first < claims.margins_stated
    return Verdict(claim, tested, word, p, adjusted, alone, negligible, late)


def decide(claim: Claim, tested: list[Tested], adjusted: float, among: float) -> tuple[str, bool]:
    """What follows for a claim from its comparisons: the first verdict that fits, and whether the
    effect is negligible. `adjusted` must be at most `among` for a direction."""
    if min(len(test.measured.seeds) for test in tested) < LEAST_SEEDS:
        return UNDECIDED, False
    least = min(claim.at_least, len(tested))
    enough = len(tested) - least + 1  # of whose failures the claim fails
    holds, fails, short = (
        partial_conjunction([test.holds for test in tested], least) < LEVEL,
        partial_conjunction([test.fails for test in tested], enough) < LEVEL,
        partial_conjunction([test.falls_short for test in tested], enough) < LEVEL,
    )
    inside = partial_conjunction([test.no_effect for test in tested], len(tested)) < LEVEL
    if adjusted <= among and (holds or fails):
        word = (SMALLER if short else SUPPORTED) if holds else CONTRADICTED
        return word, inside
    if inside:
        return NO_EFFECT, False
    return EXCLUDED if short else UNDECIDED, False


def _direction(claim: Claim, tested: list[Tested]) -> str:
    """Where all seeds of enough comparisons point, which is no verdict."""
    sides = []
    for test in tested:
        values, pair = test.measured.values, test.pair
        if isinstance(pair, Trend):
            steps = np.diff(values, axis=1) * pair.sign
        else:
            steps = ((values[:, 0] - values[:, 1]) - pair.bound) * pair.sign
        sides.append(int((steps > 0).all()) - int((steps < 0).all()) if steps.size else 0)
    if sides.count(1) >= claim.at_least:
        return FOR
    return AGAINST if sides.count(-1) >= claim.at_least else MIXED
