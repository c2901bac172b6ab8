"""How much of what LRD changes a smaller step changes too."""

import numpy as np
import pytest

from experiments.record.reader import read_runs
from helpers.claims import STEADY
from helpers.synthetic import make_run
from scripts.figures.share import share_figure
from scripts.report import __main__ as report_command
from scripts.verdicts import share
from scripts.verdicts.intervals import paired, ratio


def test_the_share_of_a_smaller_step_is_of_the_seeds_that_all_three_arms_have(runs, tmp_path):
    """LRD changes the last accuracy by about 1, half the rate by about 0.8; a lone seed is left."""
    for seed, step in enumerate(STEADY[:4]):
        for arm, last in (("", 98.0), ("+lrd0.5", 99.0 + step), ("+lr0.5", 98.8 + step / 2)):
            make_run(runs, f"sgdm{arm}", seed, [50.0, last])
    make_run(runs, "sgdm", 4, [50.0, 10.0])
    rows = share.rows_of(read_runs(runs, scale="paper"), "paper")
    (row,) = [row for row in rows if row["statistic"].startswith("test accuracy")]
    assert (row["n"], row["base"]) == (4, 98.0)
    assert row["share"] == pytest.approx(80, abs=0.5)
    masked, smaller = (np.array([change + step * by for step in STEADY[:4]])
                       for change, by in ((1.0, 1), (0.8, 0.5)))  # fmt: skip
    below, above = (paired(smaller - row[f"share_{end}"] / 100 * masked) for end in ("low", "high"))
    assert (below.low, above.high) == pytest.approx((0, 0), abs=1e-5)
    assert not any("epochs to" in row["statistic"] for row in rows)  # nobody comes that far
    assert np.isnan(ratio(masked, masked - 1)).all()  # a change that may be none has no share
    assert np.isnan(ratio(masked, np.full(4, -9.0))).all()  # nor one without spread


def test_each_statistic_is_of_its_epochs(runs):
    """Training accuracy rises by 0.5 an epoch and a mask takes 0.5 off; 99.9 is met at epoch 12."""
    for arm, less in (("sgdm", 0.0), ("sgdm+lrd0.5", 0.5), ("sgdm+lr0.5", 0.0)):
        curve = [94.0 + 0.5 * epoch - less for epoch in range(1, 13)]
        make_run(runs, arm, 0, curve)
    rows = {row["statistic"]: row for row in share.rows_of(read_runs(runs, scale="paper"), "paper")}
    bases = {label: (row["base"], row["mask_mean"]) for label, row in rows.items()}
    assert bases.pop("test loss (nats), last epoch")
    assert bases == {
        "training accuracy over all epochs (%)": (97.25, -0.5),
        "epochs to 99.9 % training accuracy": (12.0, 1.0),
        "test accuracy, last epoch (%)": (100.0, -0.5),
        "test accuracy, mean of the last ten epochs (%)": (97.75, -0.5),
    }


def test_the_figure_has_the_pairs_of_every_optimizer_with_the_seeds_for_a_verdict(runs):
    arms = {"adam": 0.0, "adam+lrd0.5": 1.0, "adam+lr0.5": 0.8}
    arms |= {"sgdm": 0.0, "sgdm+lrd0.3": -1.0, "sgdm+lr0.3": 0.5}
    arms |= {"rmsprop": 0.0, "rmsprop+lrd0.5": 1.0, "rmsprop+lr0.5": 0.8}
    for arm, change in arms.items():
        for seed, step in enumerate(STEADY[: 3 if "rmsprop" in arm else 4]):
            make_run(runs, arm, seed, [50.0, 90 + change + (step if "+" in arm else 0)])
    rows = share.rows_of(read_runs(runs, scale="paper"), "paper")
    training, test = share_figure(rows, "paper").axes
    words = [label.get_text() for label in test.get_yticklabels()]
    assert words == ["SGDM, p = 0.3, n = 4", "Adam, n = 4"]
    short = share_figure([{**row, "short": row["optimizer"] == "adam"} for row in rows], "mid")
    marked = [label.get_text() for label in short.axes[1].get_yticklabels()]
    assert marked == ["SGDM, p = 0.3, n = 4", "Adam*, n = 4"]
    assert "*: the base misses" in short.get_supxlabel().replace("\n", " ")
    assert test.get_title("left") == "MNIST, FCNet:\ntest accuracy, last epoch"
    means = [line.get_xdata()[0] for line in test.lines if line.get_marker() in ("o", "s", "D")]
    assert means == pytest.approx([-1, 0.5, -1.5, 1, 0.8, 0.2], abs=0.01)
    assert training.get_title("left").endswith("training accuracy over all epochs")
    assert share_figure([row for row in rows if row["n"] < 4], "paper") is None
    alone = share_figure([row for row in rows if row["statistic"].startswith("training")], "paper")
    assert [axes.axison for axes in alone.axes] == [True, False]
    named = {(line[2], line[3]) for line in share.table(rows, "paper")[0].rows}
    assert named == {("adam", "0.5"), ("sgdm", "0.3"), ("rmsprop", "0.5")}


@pytest.mark.parametrize(("seeds", "drawn"), [(3, False), (4, True)])
def test_the_report_shows_the_figure_where_there_is_one(runs, tmp_path, seeds, drawn):
    for arm in ("adam", "adam+lrd0.5", "adam+lr0.5"):
        for seed in range(seeds):
            make_run(runs, arm, seed, [50.0, 90.0 + seed])
    report_command.main(["--results", str(tmp_path)])
    text = (tmp_path / "REPORT.md").read_text()
    assert ("](figures/paper/share.png)" in text) == drawn
    assert "pair by pair, scale paper: could not be drawn" not in text
    assert (tmp_path / "figures/paper/share.png").exists() == drawn
    assert (tmp_path / "tables/paper/share.md").exists()
