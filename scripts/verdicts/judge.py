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
from scripts.gather import Arm, Experiment, ResultError, gather, published
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
    published: float


class Verdict(NamedTuple):
    """A claim's verdict, and the pairs from which it follows."""

    claim: Claim
    tested: list[Tested]
    verdict: str
    unlike: list[Unlike]


def judge(claims: Claims, runs: Runs) -> list[Verdict]:
    """Takes the claims and the runs of one scale, returns the claims' verdicts in their order."""
    arms: dict[str, dict[str, None]] = defaultdict(dict)
    for claim in claims.claims:
        arms[claim.experiment] |= dict.fromkeys(claim.arms)
    experiments = {name: gather(runs, name, wanted) for name, wanted in arms.items()}
    far = _far_from_published(claims.another_base, experiments)
    families: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims.claims:
        families[claim.family].append(claim)
    tests: dict[tuple[str, Pair], Tested] = {}
    for family, members in families.items():
        for pair, tested in _test_family(members, experiments, claims.level).items():
            tests[family, pair] = tested
    verdicts = []
    for claim in claims.claims:
        tested = [_of_pair(pair, tests[claim.family, _key(pair)], claims) for pair in claim.pairs]
        bases = dict.fromkeys((claim.experiment, arm) for pair in claim.pairs for arm in pair.than)
        unlike = [far[base] for base in bases if base in far]
        verdicts.append(Verdict(claim, tested, _of_claim(claim, tested), unlike))
    return verdicts


def _test_family(
    members: list[Claim], experiments: dict[str, Experiment], level: float
) -> dict[Pair, Tested]:
    """The tests of a family's pairs, corrected together.

    A pair that several claims of the family name is one test, and counts once.
    """
    pairs = dict.fromkeys(_key(pair) for claim in members for pair in claim.pairs)
    measured = [measure(pair, experiments[pair.experiment]) for pair in pairs]
    results = [
        paired(numbers.differences, pair.bound, level)
        for pair, numbers in zip(pairs, measured, strict=True)
    ]
    adjusted = holm([result.p for result in results])
    rows = zip(pairs, measured, results, adjusted, strict=True)
    return {pair: Tested(pair, *numbers, NOT_RUN) for pair, *numbers in rows}


def _key(pair: Pair) -> Pair:
    """What is tested, whatever is claimed and was published of it."""
    return pair._replace(sign=1, published=None)


def measure(pair: Pair, experiment: Experiment) -> Measured:
    """Takes a pair and its experiment's runs, returns both sides at every seed that both have."""
    names = (*pair.arms, *pair.than)
    done = [{run.seed: run for run in experiment[arm].done} for arm in names]
    seeds = sorted(set.intersection(*map(set, done)))
    diverged = {arm: {run.seed for run in experiment[arm].diverged} for arm in names}
    ended = set.intersection(
        *({*of_arm, *diverged[arm]} for arm, of_arm in zip(names, done, strict=True))
    )
    lost = {arm: sorted(which & ended) for arm, which in diverged.items() if which & ended}
    mixed = [seed for seed in seeds if len({arm[seed].info.get("cpu") for arm in done}) > 1]
    sides = np.empty((len(seeds), 2))
    for row, seed in zip(sides, seeds, strict=True):
        of_seed = [arm[seed] for arm in done]
        values = [statistic(pair, run, base=of_seed[-1]) for run in of_seed]
        row[:] = [np.mean(values[: len(pair.arms)]), np.mean(values[len(pair.arms) :])]
    first, second = sides.mean(0) if seeds else (math.nan, math.nan)
    return Measured(seeds, first, second, (sides[:, 0] - sides[:, 1]).tolist(), lost, mixed)


def _far_from_published(
    limits: dict[str, float], experiments: dict[str, Experiment]
) -> dict[tuple[str, str], Unlike]:
    """Arms at the paper's scale whose mean last value is farther than the limit from the paper's.

    Of other scales nobody expects it.
    """
    far = {}
    for item in PUBLISHED:
        for row in published(item).itertuples():
            if row.experiment not in limits or row.metric not in MAIN_METRICS:
                continue
            arm = experiments[row.experiment][row.arm] if row.experiment in experiments else Arm()
            lasts = [
                float(run.metrics[row.metric].iloc[-1]) for run in arm.done if run.scale == "paper"
            ]
            if lasts and abs(np.mean(lasts) - row.value) > limits[row.experiment]:
                here = float(np.mean(lasts))
                far[row.experiment, row.arm] = Unlike(row.arm, here, row.value)
    return far


def statistic(pair: Pair, run: Run, base: Run) -> float:
    """A pair's statistic of a run (see conf/claims.yaml); `reach` compares with the run `base`."""
    kind, column = pair.statistic.split(":")
    curve = run.metrics[column]
    if kind in STATISTICS:
        return float(STATISTICS[kind](curve))
    if kind == "mean":
        return float(curve.mean())
    goal = base.metrics[column].iloc[-1]
    reached = curve <= goal if pair.column.falls else curve >= goal
    return float(run.metrics["epoch"][reached].min() if reached.any() else len(curve) + 1)


def _of_pair(pair: Pair, tested: Tested, claims: Claims) -> Tested:
    """A test as the claim that names the pair sees it."""
    lost, result = tested.measured.diverged, tested.result
    if lost:
        verdict = UNDECIDED
    elif not result.n:
        verdict = NOT_RUN
    else:
        verdict = _side(result, pair.bound, pair.sign, tested.adjusted, claims.level)
    return tested._replace(pair=pair, verdict=verdict)


def _side(result: Paired, bound: float, sign: int, p: float, level: float) -> str:
    """On which side of the bound the mean is, if that is significant."""
    if math.isnan(result.p) or p > level:
        return UNDECIDED
    return SUPPORTED if (result.mean - bound) * sign > 0 else CONTRADICTED


def _of_claim(claim: Claim, tested: list[Tested]) -> str:
    counts = Counter(test.verdict for test in tested)
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
