"""Claims about cost, judged by the benchmark's rounds, as many as were planned beforehand."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from scripts.item import ResultError
from scripts.verdicts.claim import Cost
from scripts.verdicts.intervals import LEVEL
from scripts.verdicts.judge import CONTRADICTED, NOT_RUN, SUPPORTED, UNDECIDED


class Ratio(NamedTuple):
    """The median of a row's rounds, as the benchmark's table has it, and its interval."""

    n: int
    median: float = math.nan
    low: float = math.nan  # NaN for fewer than six rounds
    high: float = math.nan


def judge_cost(cost: Cost, benchmark: Path) -> tuple[Ratio, str]:
    """A claim about the benchmark: the rounds' ratios of its row, tested against its bound.

    Not run: there is no benchmark, or one from before the rounds' ratios were kept. Raises
    ResultError if the benchmark has no such row.
    """
    table = pd.read_csv(benchmark) if benchmark.exists() else pd.DataFrame()
    if "ratios" not in table:
        return Ratio(0), NOT_RUN
    rows = table[[fnmatchcase(what, cost.row) for what in table["what"]]]
    if len(rows) != 1:
        raise ResultError(
            f"{benchmark} has {'several rows' if len(rows) else 'no row'} {cost.row!r}: run "
            "`make benchmark` again, or correct the row in conf/claims.yaml"
        )
    ratios = [float(word) for word in str(rows["ratios"].iloc[0]).split()]
    # two of the ratios that hold the median between them, by the sign test
    interval = scipy.stats.quantile_test(ratios, p=0.5).confidence_interval(1 - LEVEL)
    result = Ratio(len(ratios), float(np.median(ratios)), float(interval.low), float(interval.high))
    if math.isnan(result.low) or result.low <= cost.bound <= result.high:
        return result, UNDECIDED
    return result, SUPPORTED if result.high < cost.bound else CONTRADICTED
