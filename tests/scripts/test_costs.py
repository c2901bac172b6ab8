"""Claims about cost, from the benchmark's file."""

import math

import pandas as pd
import pytest

from helpers.commands import ROOT
from scripts.gather import ResultError
from scripts.verdicts.claim import Cost
from scripts.verdicts.claims import read_claims
from scripts.verdicts.cost import judge_cost


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ("1.01 1.012 1.009 1.0 1.02 1.025", "supported"),
        ("1.06 1.07 1.065 1.08 1.04 1.05", "contradicted"),
        ("1.01 1.012 1.009 1.0 1.02 1.5", "undecided"),
        ("1.0 1.0 1.0", "undecided"),  # three rounds decide nothing
    ],
)
def test_cost_is_decided_by_the_benchmarks_rounds(tmp_path, ratios, verdict):
    path = tmp_path / "benchmark.csv"
    pd.DataFrame({"what": ["epoch"], "ratios": [ratios]}).to_csv(path, index=False)
    assert judge_cost(Cost("cheap", "Section 4.1", "epoch", 1.03), path)[1] == verdict
    assert judge_cost(Cost("cheap", "Section 4.1", "e*h", 1.03), path)[1] == verdict
    numbers = sorted(map(float, ratios.split()))
    result, _ = judge_cost(Cost("cheap", "Section 4.1", "epoch", 1.03), path)
    assert result.median == pytest.approx(
        (numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2]) / 2
    )
    with pytest.raises(ResultError, match="no row"):
        judge_cost(Cost("cheap", "Section 4.1", "another", 1.03), path)
    two = pd.DataFrame({"what": ["epoch", "each"], "ratios": [ratios, ratios]})
    two.to_csv(path, index=False)
    with pytest.raises(ResultError, match=r"several rows 'e\*h'"):
        judge_cost(Cost("cheap", "Section 4.1", "e*h", 1.03), path)


@pytest.mark.parametrize(("n", "low", "high"), [(15, 4, 12), (6, 1, 6), (5, None, None)])
def test_the_interval_of_a_median_has_the_ranks_of_the_sign_test(tmp_path, n, low, high):
    """Ranks 4 and 12 of 15, as tables of the sign test have it; of five there is none."""
    ratios = " ".join(f"{number}" for number in range(n, 0, -1))
    path = tmp_path / "benchmark.csv"
    pd.DataFrame({"what": ["epoch"], "ratios": [ratios]}).to_csv(path, index=False)
    result, _ = judge_cost(Cost("cheap", "Section 4.1", "epoch", 1.03), path)
    assert [low, high] == [None if math.isnan(end) else end for end in (result.low, result.high)]


@pytest.mark.parametrize("claim", read_claims().costs, ids=lambda claim: claim.row)
def test_the_committed_benchmark_has_the_row_of_every_claim(claim):
    result, verdict = judge_cost(claim, ROOT / "results" / "benchmark.csv")
    assert result.n >= 3
    assert verdict != "not run"
