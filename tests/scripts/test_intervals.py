"""Intervals and tests, against published tables, another library and synthetic truth."""

import math

import numpy as np
import pingouin
import pytest
from scipy import stats

from scripts.verdicts.intervals import (
    benjamini_hochberg,
    critical,
    expected_seeds,
    holm,
    log_bayes_factor,
    p_value,
    page,
    paired,
    partial_conjunction,
)

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]  # Student's data (1908)


def test_students_interval_is_the_paired_t_tests():
    result = paired(SLEEP)
    assert result.mean == pytest.approx(1.58)
    assert (result.student_low, result.student_high) == pytest.approx((0.7001, 2.4599), abs=1e-3)


@pytest.mark.parametrize(("t", "n"), [(0.0, 3), (0.5, 4), (4.0621, 10), (2.2, 80), (30.0, 5)])
def test_the_bayes_factor_is_pingouins(t, n):
    """And for the sleep data it is the published 17.26 (Rouder et al., 2009)."""
    theirs = float(pingouin.bayesfactor_ttest(t, n, paired=True))
    assert math.exp(log_bayes_factor(t, n)) == pytest.approx(theirs, rel=2e-3)
    if n == 10:
        assert math.exp(log_bayes_factor(t, n)) == pytest.approx(17.26, abs=0.01)


@pytest.mark.parametrize(("t", "n"), [(200.0, 2000), (1e6, 60), (0.0, 10_000)])
def test_the_bayes_factor_of_many_seeds_or_a_huge_effect_is_finite(t, n):
    assert math.isfinite(log_bayes_factor(t, n))
    assert (log_bayes_factor(t, n) > 100) == (t > 0)
    assert critical(n) == pytest.approx(3.9, abs=0.8)


@pytest.mark.parametrize(
    ("level", "quantiles"),
    [
        (0.05, {4: 10.1, 5: 6.85, 6: 5.62, 8: 4.61, 10: 4.18, 12: 3.95, 20: 3.58, 30: 3.44}),
        (0.01, {6: 8.84, 8: 6.49, 10: 5.58, 20: 4.39}),
    ],
)
def test_quantiles_are_those_of_the_table(level, quantiles):
    for n, t in quantiles.items():
        assert critical(n, level) == pytest.approx(t, rel=5e-3)


def test_the_interval_holds_what_is_not_rejected():
    result = paired(SLEEP)
    for bound, p in ((result.low, 0.05), (result.high, 0.05)):
        assert p_value(result, bound) == pytest.approx(p, rel=1e-4)
    assert p_value(result, result.mean) == 1.0
    assert p_value(result, 0.0) == pytest.approx(1 / 17.26, abs=1e-4)


@pytest.mark.parametrize("draw", ["normal", "bimodal"])
def test_looking_after_every_seed_seldom_misses_the_truth(draw):
    """3 to 60 seeds, 2,000 times: Student's interval misses it in a third of the cases."""
    random, trials = np.random.default_rng(0), 2000
    values = random.normal(size=(trials, 60))
    if draw == "bimodal":  # as Adam's accuracies on MNIST, of two kinds
        values = np.where(random.random((trials, 60)) < 0.5, -1.0, 1.0) + 0.4 * values
    counts = np.arange(1, 61)
    means = values.cumsum(1) / counts
    spread = np.sqrt(np.maximum((values**2).cumsum(1) / counts - means**2, 0))
    t = np.abs(means[:, 2:]) / (spread[:, 2:] / np.sqrt(counts[2:] - 1))
    ours = [critical(int(n)) for n in counts[2:]]
    missed = (t > ours).any(1).mean()
    assert missed <= (0.05 if draw == "normal" else 0.08)
    if draw == "normal":
        assert (t > stats.t.ppf(0.975, counts[2:] - 1)).any(1).mean() > 0.28


@pytest.mark.parametrize(
    ("ratio", "seeds"), [(1, 14), (1.5, 9), (2, 7), (2.6, 6), (3.4, 5), (5, 5)]
)
def test_expected_seeds_are_the_mean_numbers_that_simulations_take(ratio, seeds):
    """Drawn with a truth of 0 until 0 or the distance is excluded."""
    assert abs(expected_seeds(ratio) - seeds) <= 1
    random, taken = np.random.default_rng(1), []
    for _ in range(300):
        values = random.normal(size=80)
        for n in range(4, 81):
            result = paired(values[:n])
            if result.low > 0 or result.high < 0 or result.high < ratio:
                break
        taken.append(n)
    assert abs(np.mean(taken) - seeds) <= 1.5


def test_no_distance_takes_for_ever():
    assert expected_seeds(0.0) == expected_seeds(math.nan) == math.inf
    assert expected_seeds(0.01, most=50) == math.inf


def test_holm_keeps_the_error_of_a_whole_family():
    """Without any effect, 5 % of families of ten have a significant test; uncorrected, 40 %."""
    p_values = np.random.default_rng(2).uniform(size=(2000, 10))
    corrected = np.mean([min(holm(family)) < 0.05 for family in p_values])
    assert abs(corrected - 0.05) < 0.02
    assert (p_values.min(axis=1) < 0.05).mean() > 0.35


def test_corrections_by_hand_and_a_test_that_was_not_made_counts_as_one():
    assert holm([0.01, 0.04, 0.03, math.nan]) == pytest.approx([0.04, 0.09, 0.09, 1.0])
    assert benjamini_hochberg([0.01, 0.04, 0.03, math.nan]) == pytest.approx(
        [0.04, 0.16 / 3, 0.16 / 3, 1.0]
    )
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize(("least", "p"), [(3, 0.2), (2, 0.06), (1, 0.03)])
def test_so_many_of_several_hold_by_the_partial_conjunction(least, p):
    """All by the largest p, two by twice the second, one by Bonferroni's."""
    assert partial_conjunction([0.03, 0.01, 0.2], least) == pytest.approx(p)
    assert partial_conjunction([0.9, math.nan, 0.9], 3) == 1.0


@pytest.mark.parametrize("differences", [[], [0.3], [0.2, 0.2, 0.2], [0.0, 0.0], [1.0, 2.0]])
def test_too_few_seeds_or_no_spread_have_no_interval(differences):
    result = paired(differences)
    assert result.n == len(differences)
    assert math.isnan(result.low)
    assert math.isnan(p_value(result, 0.0)) or len(differences) > 1


def test_an_order_is_asked_for_both_ways():
    """Of noise, at most one in twenty rises or falls; of one-sided tests it would be one in ten."""
    noise = np.random.default_rng(0)
    decided = sum(min(page(noise.normal(size=(8, 4)), 1)) < 0.05 for _ in range(400))
    assert decided < 28
    rises, falls = page(np.arange(24.0).reshape(8, 3), 1)
    assert rises < 1e-4 < falls == 1
