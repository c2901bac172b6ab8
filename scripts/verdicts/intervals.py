"""Statistics of paired differences: an interval that stays valid when seeds are added, and tests.

The sequential interval holds every mean against which the two-sided JZS Bayes factor of the
one-sample t test is below 1/level (Rouder et al., 2009; Cauchy prior of scale √2/2 on the effect
size). Under the mean that is tested this factor is a martingale, so by Ville's inequality it is
1/level or more at any number of seeds with a probability of at most `level`: one may look after
every seed and stop when decided.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # whose parts load where they are used

LEVEL = 0.05
LABEL = f"{100 * (1 - LEVEL):g} % interval, valid as seeds are added"  # in figures
_SCALE = math.sqrt(0.5)  # of the prior on the effect size
_LEAST = 3  # differences of which there is an interval
_LOG_G = np.linspace(-12, 40, 2001)  # over which the prior's variance is integrated


class Paired(NamedTuple):
    """What n paired differences say about their mean. NaN where there are too few to say it."""

    n: int
    mean: float
    low: float  # of the sequential interval
    high: float
    student_low: float  # of Student's, for a number of seeds that was fixed beforehand
    student_high: float
    spread: float  # sample standard deviation


def paired(differences: Sequence[float]) -> Paired:
    """Takes paired differences, returns their mean with both intervals at 1 - LEVEL.

    Differences without any spread have none: seeds that agree to the last digit of a coarse
    statistic do not show that all seeds do.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    spread = float(values.std(ddof=1)) if n > 1 else math.nan
    if not spread > 1e-12 * max(1.0, abs(mean)):
        return Paired(n, mean, *[math.nan] * 4, spread)
    error = spread / math.sqrt(n)
    half = critical(n) * error
    student = float(scipy.stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    return Paired(n, mean, mean - half, mean + half, mean - student, mean + student, spread)


def ratio(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Takes differences of the same seeds, returns the ratio of their means and Fieller's interval.

    It holds each r for which the interval of first − r × second holds 0. NaN where that of
    `second` holds 0 itself, or where there is none.
    """
    low, high = paired(second)[2:4]
    if not low * high > 0:
        return math.nan, math.nan, math.nan
    n, means = len(first), np.array([first.mean(), second.mean()])
    spread = np.cov(first, second) * critical(n) ** 2 / n
    (above, both), (_, below) = np.outer(means, means) - spread
    root = math.sqrt(max(0.0, both**2 - below * above))
    return float(means[0] / means[1]), (both - root) / below, (both + root) / below


def p_value(result: Paired, bound: float) -> float:
    """The p value, valid at any number of seeds, of a mean that is `bound`; NaN without a test.

    It is the Bayes factor's inverse, at most 1, and below `level` where the interval at
    1 - level does not hold `bound`.
    """
    if math.isnan(result.low):
        return math.nan
    t = (result.mean - bound) * math.sqrt(result.n) / result.spread
    return math.exp(min(0.0, -log_bayes_factor(abs(t), result.n)))


@functools.cache
def critical(n: int, level: float = LEVEL) -> float:
    """The |t| of n differences at which the Bayes factor is 1/level; NaN for fewer than 3."""
    if n < _LEAST:
        return math.nan
    goal = -math.log(level)
    high = 8.0
    while log_bayes_factor(high, n) < goal:
        high *= 2
    return float(
        scipy.optimize.brentq(lambda t: log_bayes_factor(t, n) - goal, 0.0, high, xtol=1e-6)
    )


def log_bayes_factor(t: float, n: int) -> float:
    """Natural logarithm of the JZS Bayes factor for an effect, of a one-sample t of n values."""
    freedom = n - 1
    g = np.exp(_LOG_G)
    wide = 1 + n * g * _SCALE**2
    density = -0.5 * (math.log(2 * math.pi) + _LOG_G + 1 / g)  # of log g, inverse gamma(1/2, 1/2)
    effect = -0.5 * np.log(wide) - (freedom + 1) / 2 * np.log1p(t * t / freedom / wide)
    null = -(freedom + 1) / 2 * math.log1p(t * t / freedom)
    step = _LOG_G[1] - _LOG_G[0]
    return float(scipy.special.logsumexp(density + effect)) + math.log(step) - null


def expected_seeds(distance: float, most: int = 1000) -> float:
    """Takes a distance in standard deviations, returns the seeds at which the interval's half
    width comes down to it; inf for more than `most`. About the mean number until one end of the
    distance is excluded while the truth lies at the other.
    """
    if not distance > 0:
        return math.inf
    for n in range(4, most + 1):
        if critical(n) / math.sqrt(n) <= distance:
            return n
    return math.inf


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values of one family; a NaN, of a test that was not made, counts as 1."""
    raw = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    steps = raw[order] * np.arange(len(raw), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values that bound the share of false findings; NaN counts as 1."""
    raw = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
    return scipy.stats.false_discovery_control(raw).tolist() if len(raw) else []


def partial_conjunction(p_values: Sequence[float], least: int) -> float:
    """The p value of "at least so many of these hold"; of all of them it is the largest p."""
    ordered = sorted(1.0 if math.isnan(p) else p for p in p_values)
    return min(1.0, (len(ordered) - least + 1) * ordered[least - 1])


def page(values: np.ndarray, sign: int) -> tuple[float, float]:
    """Page's p values of a trend (seeds, arms) that rises along the arms, and of one that falls.

    Each is doubled, since both are asked.
    """
    rises, falls = (
        min(1.0, 2 * float(scipy.stats.page_trend_test(values[:, ::step]).pvalue))
        for step in (sign, -sign)
    )
    return rises, falls
