"""Statistics of a paired comparison: interval, effect size, seeds that it would need; Holm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

POWER = 0.8
MOST_SEEDS = 1000  # that are searched for; more than anybody will run


class Paired(NamedTuple):
    """What n paired differences say about their mean. NaN where there are too few to say it."""

    n: int
    mean: float
    low: float  # of the t interval of the mean
    high: float
    effect: float  # Hedges' g of the pairs; from three differences on
    p: float  # of the two-sided t test of mean = bound


def paired(differences: Sequence[float], bound: float = 0.0, level: float = 0.05) -> Paired:
    """Interval of the mean difference at 1 - level, and the t test against `bound`.

    Differences without any spread have no test: seeds that agree to the last digit of a coarse
    statistic do not show that all seeds do.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    spread = float(values.std(ddof=1)) if n > 1 else math.nan
    if not spread > 1e-12 * max(1.0, abs(mean)):
        return Paired(n, mean, *[math.nan] * 4)
    half = float(stats.t.ppf(1 - level / 2, n - 1)) * spread / math.sqrt(n)
    effect = hedges(n) * (mean - bound) / spread if n > 2 else math.nan
    p = float(stats.ttest_1samp(values, bound).pvalue)
    return Paired(n, mean, mean - half, mean + half, effect, p)


def hedges(n: int) -> float:
    """What Cohen's d of n pairs is multiplied by, since from few it is too large on average.

    Exact for normal differences (Hedges, 1981, eq. 6e); 0.56 for three pairs, and 0 for two, from
    which nothing is known of the spread that could be corrected.
    """
    freedom = n - 1
    logarithm = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return float(np.exp(logarithm) / math.sqrt(freedom / 2))


def power(effect: float, n: int, level: float) -> float:
    """Probability that the two-sided paired t test of n differences finds an effect size."""
    critical = stats.t.ppf(1 - level / 2, n - 1)
    shift = abs(effect) * math.sqrt(n)
    # the other tail, of a significant effect of the wrong sign, is left out: it is no success
    return float(stats.nct.sf(critical, n - 1, shift))


def needed_seeds(effect: float, level: float = 0.05) -> float:
    """The least n at which an effect size is found with a power of 80 %.

    inf if it is more than MOST_SEEDS; NaN for an effect of NaN.
    """
    if math.isnan(effect):
        return math.nan
    if power(effect, MOST_SEEDS, level) < POWER:
        return math.inf
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        if power(effect, middle, level) >= POWER:
            high = middle
        else:
            low = middle + 1
    return float(low)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of one family; a NaN, of a test that was not made, counts as 1."""
    raw = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()
