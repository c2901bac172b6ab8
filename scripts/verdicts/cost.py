"""Claims about cost, judged by the benchmark's rounds."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from scripts.gather import ResultError
from scripts.verdicts.claim import Cost
from scripts.verdicts.intervals import Paired, paired
from scripts.verdicts.judge import CONTRADICTED, NOT_RUN, SUPPORTED, UNDECIDED


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
    result = paired(ratios, level)
    low, high = result.student_low, result.student_high  # rounds are as many as were planned
    if math.isnan(low) or low <= cost.bound <= high:
        return result, UNDECIDED
    return result, SUPPORTED if result.mean < cost.bound else CONTRADICTED
