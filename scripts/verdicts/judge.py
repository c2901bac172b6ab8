"""Claims tested on run folders: paired differences over seeds, and the verdicts that follow."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.record.reader import Run, Runs
from scripts.gather import ResultError, gather, published
from scripts.tables.cells import STATISTICS
from scripts.verdicts.claims import Claim, Claims, Cost, Pair
from scripts.verdicts.intervals import Paired, holm, paired

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = "supported", "contradicted", "undecided", "not run"
PUBLISHED = ("table1", "table2", "table3", "table4", "figure8")  # in results/paper
MAIN_METRICS = ("test_accuracy", "mean_iou")
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN)


class Measured(NamedTuple):
    """A pair's runs: the seeds that both sides have, and what they differ by at each."""

    seeds: list[int]
    first: float  # the statistic's mean over the seeds; NaN without any
    second: float
    differences: list[float]
    diverged: dict[str, list[int]]  # by arm, at seeds at which all of them ended
    mixed: list[int]  # seeds whose runs were made on different processors


class Tested(NamedTuple):
    """A pair, what its seeds say, and what follows at the corrected level."""

    pair: Pair
    measured: Measured
    result: Paired
    adjusted: float  # Holm's p-value
    verdict: str


class Unlike(NamedTuple):
    """An arm that a claim compares with, and that ends far from what the paper has for it."""

    arm: str
    here: float
    there: float


class Verdict(NamedTuple):
    """A claim's verdict, and the pairs from which it follows."""

    claim: Claim
    tested: list[Tested]
    verdict: str
    unlike: list[Unlike]


def judge(claims: Claims, runs: list[Run]) -> list[Verdict]:
    """Test all claims on the runs of one scale.

    Raises ResultError for runs that cannot be compared.
    """
    experiments: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        experiments[run.experiment].append(run)
    far = _far_from_published(claims.another_base, experiments)
    verdicts = []
    for family in dict.fromkeys(claim.family for claim in claims.claims):
        members = [claim for claim in claims.claims if claim.family == family]
        # a pair that several claims of a family name is one test, and counts once
        measured = {
            _key(pair): measure(pair, experiments[pair.experiment])
            for claim in members
            for pair in claim.pairs
        }
        results = {
            pair: paired(found.differences, pair.bound, claims.level)
            for pair, found in measured.items()
        }
        adjusted = dict(zip(results, holm([each.p for each in results.values()]), strict=True))
        for claim in members:
            tested = []
            for pair in claim.pairs:
                key = _key(pair)
                found, result, p = measured[key], results[key], adjusted[key]
                verdict = _of_pair(pair, result, found.diverged, p, claims.level)
                tested.append(Tested(pair, found, result, p, verdict))
            bases = dict.fromkeys(
                (pair.experiment, arm) for pair in claim.pairs for arm in pair.than
            )
            unlike = [far[base] for base in bases if base in far]
            verdicts.append(Verdict(claim, tested, _of_claim(claim, tested), unlike))
    return verdicts


def _key(pair: Pair) -> Pair:
    """What is tested, whatever is claimed and was published of it."""
    return pair._replace(sign=1, published=None)


def measure(pair: Pair, runs: list[Run]) -> Measured:
    """The statistic of both sides at every seed that both have. Raises ResultError for runs that
    cannot be compared."""
    experiment = gather(Runs(runs, []), pair.experiment, (*pair.arms, *pair.than))
    done = [{run.seed: run for run in experiment[arm].done} for arm in (*pair.arms, *pair.than)]
    seeds = sorted(set.intersection(*map(set, done)))
    diverged = {
        arm: {run.seed for run in experiment[arm].diverged} for arm in (*pair.arms, *pair.than)
    }
    ended = set.intersection(
        *({*of_arm, *lost} for of_arm, lost in zip(done, diverged.values(), strict=True))
    )
    lost = {arm: sorted(seeds & ended) for arm, seeds in diverged.items() if seeds & ended}
    mixed = [seed for seed in seeds if len({each[seed].info.get("cpu") for each in done}) > 1]
    sides = np.empty((len(seeds), 2))
    for row, seed in zip(sides, seeds, strict=True):
        of_seed = [each[seed] for each in done]
        base = of_seed[-1]
        values = [statistic(pair.statistic, run, base) for run in of_seed]
        row[:] = [np.mean(values[: len(pair.arms)]), np.mean(values[len(pair.arms) :])]
    first, second = sides.mean(0) if seeds else (math.nan, math.nan)
    return Measured(seeds, first, second, (sides[:, 0] - sides[:, 1]).tolist(), lost, mixed)


def _far_from_published(
    limits: dict[str, float], experiments: dict[str, list[Run]]
) -> dict[tuple[str, str], Unlike]:
    """Arms at the paper's scale whose mean last value is farther than the limit from the paper's.

    Of other scales nobody expects it.
    """
    found = {}
    for item in PUBLISHED:
        for row in published(item).itertuples():
            limit = limits.get(row.experiment)
            lasts = [
                float(run.metrics[row.metric].iloc[-1])
                for run in experiments.get(row.experiment, [])
                if (run.arm, run.scale, run.status) == (row.arm, "paper", "done")
            ]
            if limit is None or not lasts or row.metric not in MAIN_METRICS:
                continue
            if abs(np.mean(lasts) - row.value) > limit:
                here = float(np.mean(lasts))
                found[row.experiment, row.arm] = Unlike(row.arm, here, row.value)
    return found


def statistic(name: str, run: Run, base: Run) -> float:
    """A statistic of a run (see conf/claims.yaml); `base` is the run that `reach` compares with."""
    kind, column = name.split(":")
    curve = run.metrics[column]
    if kind in STATISTICS:
        return float(STATISTICS[kind](curve))
    if kind == "mean":
        return float(curve.mean())
    goal = base.metrics[column].iloc[-1]
    there = curve <= goal if "loss" in column else curve >= goal
    return float(run.metrics["epoch"][there].min() if there.any() else len(curve) + 1)


def _of_pair(
    pair: Pair, result: Paired, diverged: dict[str, list[int]], p: float, level: float
) -> str:
    if not result.n and not diverged:
        return NOT_RUN
    return UNDECIDED if diverged else _side(result, pair.bound, pair.sign, p, level)


def _side(result: Paired, bound: float, sign: int, p: float, level: float) -> str:
    """On which side of the bound the mean is, if that is significant."""
    if math.isnan(result.p) or p > level:
        return UNDECIDED
    return SUPPORTED if (result.mean - bound) * sign > 0 else CONTRADICTED


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
    rows = table[[fnmatchcase(what, cost.row) for what in table["what"]]]
    if len(rows) != 1:
        raise ResultError(f"{benchmark} has no row {cost.row!r}: run `make benchmark` again")
    ratios = [float(word) for word in str(rows["ratios"].iloc[0]).split()]
    result = paired(ratios, cost.bound, level)
    return result, _side(result, cost.bound, -1, result.p, level)
