"""Intervals, tests and power, against synthetic truth and values worked out elsewhere."""

import math

import numpy as np
import pytest

from scripts.verdicts.intervals import hedges, holm, needed_seeds, paired, power


def test_interval_and_p_are_the_paired_t_tests():
    """Student's sleep data (1908): mean 1.58, t = 4.0621, p = 0.00283, interval 0.70 … 2.46."""
    extra = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    result = paired(extra)
    assert result.mean == pytest.approx(1.58)
    assert (result.low, result.high) == pytest.approx((0.7001, 2.4599), abs=1e-3)
    assert result.p == pytest.approx(0.00283, abs=1e-5)
    assert result.effect == pytest.approx(0.9139 * 4.0621 / math.sqrt(10), abs=1e-4)


@pytest.mark.parametrize(("n", "factor"), [(3, 0.5642), (5, 0.7979), (10, 0.9139), (31, 0.9748)])
def test_effects_are_corrected_as_hedges_table_has_it(n, factor):
    assert hedges(n) == pytest.approx(factor, abs=1e-4)


def test_two_seeds_have_an_interval_and_no_effect_size():
    result = paired([1.0, 1.1])
    assert math.isnan(result.effect)
    assert result.low < 1.0 < result.high


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_covers_the_truth_as_often_as_it_says(n):
    rng, truth, hits, trials = np.random.default_rng(0), 0.3, 0, 2000
    for _ in range(trials):
        result = paired(rng.normal(truth, 1.0, n))
        hits += result.low <= truth <= result.high
    assert abs(hits / trials - 0.95) < 0.02


@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_without_an_effect_one_test_in_twenty_is_significant(bound):
    rng, trials = np.random.default_rng(1), 2000
    significant = sum(paired(rng.normal(bound, 0.2, 3), bound).p < 0.05 for _ in range(trials))
    assert abs(significant / trials - 0.05) < 0.02


def test_holm_keeps_the_error_of_a_whole_family():
    """Without any effect, 5 % of families of ten have a significant test; uncorrected, 40 %."""
    p_values = np.random.default_rng(2).uniform(size=(2000, 10))
    corrected = np.mean([min(holm(family)) < 0.05 for family in p_values])
    assert abs(corrected - 0.05) < 0.02
    assert (p_values.min(axis=1) < 0.05).mean() > 0.35


def test_holm_by_hand_and_a_test_that_was_not_made_counts_as_one():
    assert holm([0.01, 0.04, 0.03, math.nan]) == pytest.approx([0.04, 0.09, 0.09, 1.0])


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_for_80_percent_are_those_of_the_tables_of_power(effect, n):
    """Sample sizes of the paired t test, two-sided at 0.05, as G*Power 3 gives them."""
    assert needed_seeds(effect) == n
    assert needed_seeds(-effect) == n


def test_power_is_the_share_of_tests_that_find_the_effect():
    rng, trials = np.random.default_rng(3), 1000
    significant = 0
    for _ in range(trials):
        result = paired(rng.normal(1.5, 1.0, 5))
        significant += result.p < 0.05 and result.mean > 0
    assert abs(significant / trials - power(1.5, 5, 0.05)) < 0.03


def test_no_effect_would_need_more_seeds_than_anybody_runs():
    assert needed_seeds(0.001) == math.inf


@pytest.mark.parametrize("differences", [[], [0.3], [0.2, 0.2, 0.2], [0.0, 0.0]])
def test_too_few_seeds_or_no_spread_have_no_test(differences):
    result = paired(differences)
    assert result.n == len(differences)
    assert math.isnan(result.p)
    assert math.isnan(result.low)
