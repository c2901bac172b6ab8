"""LRD beside the base at its mean step: what the figure shows of runs, and its margins."""

import numpy as np
import pytest

from helpers.synthetic import make_run
from scripts.figures.__main__ import make_figures, shown_arms
from scripts.figures.step import _MARGINS, step_curves
from scripts.gather import gather, read_item
from scripts.item import STEP_RATES, step_arm
from scripts.verdicts.claims import read_claims


def make_step_runs(runs, seeds=4, epochs=12, rates=STEP_RATES):
    """LRD ends 0.02 points above the base, more or less; the first epochs do not count."""
    for place, rate in enumerate(rates):
        for seed in range(seeds):
            base, apart = 98 + 0.1 * place, 0.02 + 0.004 * (seed - 1.5)
            for arm, last in (("lr0.5", base), ("lrd0.5", base + apart)):
                curve = [10.0] * (epochs - 10) + [last + 0.1 * (k % 2) for k in range(10)]
                make_run(runs, step_arm(arm, rate), seed, curve)


def draw(runs):
    item, read = read_item("step", runs, "paper", None)
    return step_curves(item, gather(read, "mnist", shown_arms(item)), "paper")


def test_both_arms_stand_at_the_mean_step_and_their_difference_below(runs):
    make_step_runs(runs)
    accuracy, loss, apart, _ = draw(runs).axes
    masked, half = accuracy.lines
    for line, offset in ((masked, 0.02), (half, 0)):
        np.testing.assert_allclose(line.get_xdata(), [0.025, 0.05, 0.1, 0.2])
        expected = [98.05 + 0.1 * k + offset for k in range(4)]
        np.testing.assert_allclose(line.get_ydata(), expected)
    points = [line for line in apart.lines if line.get_marker() == "o"]
    np.testing.assert_allclose([float(line.get_ydata()[0]) for line in points], 0.02)
    assert [text.get_text() for text in apart.texts] == ["n = 4"] * 4
    assert len(loss.lines) == 2


def test_the_caption_names_the_seeds_of_what_is_drawn(runs):
    make_step_runs(runs, seeds=2, rates=(0.1,))
    make_run(runs, "sgdm+lr0.5", 7, [98.0] * 12)  # without weight decay
    figure = draw(runs)
    assert "seeds: 0, 1;" in figure.get_supxlabel()
    assert [axes.get_ylabel() for axes in figure.axes[2:]] == [
        "LRD − half the rate (points)", "LRD − half the rate (nats)"
    ]  # fmt: skip


def test_what_was_not_run_or_is_too_short_is_not_drawn(runs, tmp_path):
    make_step_runs(runs, seeds=2, rates=(0.1,))
    make_run(runs, step_arm("lrd0.5", 0.2), 0, [98.0] * 9)
    figure = draw(runs)
    assert list(figure.axes[0].lines[0].get_xdata()) == [0.05]
    assert [text.get_text() for text in figure.axes[2].texts] == [
        "not run", "n = 2", "not run", "not run"
    ]  # fmt: skip
    paths = make_figures("step", runs, tmp_path, "paper", None)
    assert [path.name for path in paths] == ["step.png", "step.pdf"]
    (box,) = [of.get_window_extent() for of in figure.legends]
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_a_difference_of_one_seed_is_inside_the_picture(runs):
    for method, accuracy in (("lr0.5", 90.0), ("lrd0.5", 98.0)):
        make_run(runs, step_arm(method, 0.4), 0, [accuracy] * 12)
    low, high = draw(runs).axes[2].get_ylim()
    assert low < 0 < 8 < 0.9 * high  # below `n = 1`


@pytest.mark.parametrize("column", _MARGINS)
def test_the_margins_are_those_of_the_claims_about_the_same_arms(column):
    claims = [claim for claim in read_claims().claims if claim.sweep == "step"]
    (claim,) = (c for c in claims if c.comparisons[0].statistic == f"last10:{column}")
    assert {pair.margin for pair in claim.comparisons} == {_MARGINS[column]}
    arms = {step_arm(kind, rate) for kind in ("lrd0.5", "lr0.5") for rate in STEP_RATES}
    assert set(claim.arms) == arms
