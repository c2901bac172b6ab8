"""Claims tested on run folders: paired differences over seeds, and the verdicts that follow."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.record import Run, read_runs
from scripts.arms import ResultError, gather
from scripts.claims import Claim, Claims, Cost, Pair
from scripts.inference import Paired, holm, paired

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = "supported", "contradicted", "undecided", "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN)


class Tested(NamedTuple):
    """A pair, what its seeds say, and what follows at the corrected level."""

    pair: Pair
    seeds: list[int]
    differences: list[float]
    diverged: list[int]  # seeds at which a run of either side did
    result: Paired
    adjusted: float  # Holm's p-value
    verdict: str


class Verdict(NamedTuple):
    """A claim's verdict, and the pairs from which it follows."""

    claim: Claim
    tested: list[Tested]
    verdict: str


def judge(claims: Claims, runs_dir: Path, scale: str) -> list[Verdict]:
    """Test all claims on the runs of one scale.

    Raises ResultError or RecordError for runs that cannot be compared or read.
    """
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in read_runs(runs_dir, scale=scale):
        runs[run.experiment].append(run)
    measured = {
        claim.text: [(pair, *differences(pair, runs[pair.experiment])) for pair in claim.pairs]
        for claim in claims.claims
    }
    results = {
        text: [paired(found, pair.bound, claims.level) for pair, _, found, _ in each]
        for text, each in measured.items()
    }
    adjusted = _corrected(claims, results)
    verdicts = []
    for claim in claims.claims:
        tested = [
            Tested(*each, result, p, _of_pair(each[0], result, each[3], p, claims.level))
            for each, result, p in zip(
                measured[claim.text], results[claim.text], adjusted[claim.text], strict=True
            )
        ]
        verdicts.append(Verdict(claim, tested, _of_claim(claim, tested)))
    return verdicts


def differences(pair: Pair, runs: list[Run]) -> tuple[list[int], list[float], list[int]]:
    """Seeds that both sides have, the difference at each, and the seeds at which a run diverged."""
    experiment = gather(runs, pair.experiment, (*pair.arms, *pair.than))
    done = [{run.seed: run for run in experiment[arm].done} for arm in (*pair.arms, *pair.than)]
    seeds = sorted(set.intersection(*map(set, done)))
    lost = {run.seed for arm in experiment.arms.values() for run in arm.diverged}
    found = []
    for seed in seeds:
        of_seed = [each[seed] for each in done]
        base = of_seed[-1]
        values = [statistic(pair.statistic, run, base) for run in of_seed]
        first, second = values[: len(pair.arms)], values[len(pair.arms) :]
        found.append(statistics.fmean(first) - statistics.fmean(second))
    return seeds, found, sorted(lost)


def statistic(name: str, run: Run, base: Run) -> float:
    """A statistic of a run (see conf/claims.yaml); `base` is the run that `reach` compares with."""
    kind, column = name.split(":")
    curve = run.metrics[column]
    if kind == "last":
        return float(curve.iloc[-1])
    if kind == "mean":
        return float(curve.mean())
    goal = base.metrics[column].iloc[-1]
    there = curve <= goal if "loss" in column else curve >= goal
    return float(run.metrics["epoch"][there].min() if there.any() else len(curve) + 1)


def _corrected(claims: Claims, results: dict[str, list[Paired]]) -> dict[str, list[float]]:
    """Holm's p-values, family by family.

    A pair that several claims of a family name is one test, and counts once.
    """
    adjusted: dict[str, list[float]] = {}
    for family in dict.fromkeys(claim.family for claim in claims.claims):
        p_values = {
            (pair.statistic, pair.arms, pair.than, pair.experiment, pair.bound): result.p
            for claim in claims.claims
            if claim.family == family
            for pair, result in zip(claim.pairs, results[claim.text], strict=True)
        }
        corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
        for claim in claims.claims:
            if claim.family == family:
                adjusted[claim.text] = [
                    corrected[pair.statistic, pair.arms, pair.than, pair.experiment, pair.bound]
                    for pair in claim.pairs
                ]
    return adjusted


def _of_pair(pair: Pair, result: Paired, diverged: list[int], p: float, level: float) -> str:
    if not result.n and not diverged:
        return NOT_RUN
    if diverged or math.isnan(result.p) or p > level:
        return UNDECIDED
    return SUPPORTED if (result.mean - pair.bound) * pair.sign > 0 else CONTRADICTED


def _of_claim(claim: Claim, tested: list[Tested]) -> str:
    counts = Counter(each.verdict for each in tested)
    if counts[NOT_RUN] == len(tested):
        return NOT_RUN
    if counts[SUPPORTED] >= claim.at_least:
        return SUPPORTED
    if counts[CONTRADICTED] > len(tested) - claim.at_least:
        return CONTRADICTED
    return UNDECIDED


def judge_cost(cost: Cost, benchmark: Path, level: float) -> tuple[Paired, str]:
    """A claim about the benchmark: the rounds' ratios of its row, tested against its bound.

    Not run: there is no benchmark, or one from before the rounds' ratios were kept. Raises
    ResultError if the benchmark has no such row.
    """
    table = pd.read_csv(benchmark) if benchmark.exists() else pd.DataFrame()
    if "ratios" not in table:
        return paired([]), NOT_RUN
    rows = table.query("what == @cost.row")
    if len(rows) != 1:
        raise ResultError(f"{benchmark} has no row {cost.row!r}: run `make benchmark` again")
    ratios = [float(word) for word in str(rows["ratios"].iloc[0]).split()]
    result = paired(ratios, cost.bound, level)
    if math.isnan(result.p) or result.p > level:
        return result, UNDECIDED
    return result, SUPPORTED if result.mean < cost.bound else CONTRADICTED
