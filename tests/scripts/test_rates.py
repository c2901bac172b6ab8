"""Curves by rate and by mean step: how wide the best is, the table, the figure, the choice."""

import csv
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments.choice import NoChoice, choose
from experiments.record.reader import read_runs
from helpers.claims import HEAD, family
from helpers.synthetic import make_run, read_experiment
from scripts.catalogue import ITEMS
from scripts.figures.__main__ import make_figures
from scripts.figures.rates import rate_curves
from scripts.item import RATES as WHOLE
from scripts.item import at_rate
from scripts.rates import curve, octaves
from scripts.tables import __main__ as tables
from scripts.verdicts.claims import read_claims
from scripts.verdicts.judge import judge
from scripts.verdicts.text import evidence, files

ITEM = ITEMS["family_rates"]
RATES = WHOLE[:6]


def make_grid(root, arm, losses, seeds=(0, 1), ratio=1.0, rates=RATES, **more):
    """Runs of an arm whose validation loss ends at `losses`, by rate; the test loss is 1 more."""
    for rate, loss in zip(rates, losses, strict=True):
        for seed in seeds:
            add(root, at_rate(arm, rate), seed, loss + 0.01 * seed, ratio, **more)


def add(root, arm, seed, loss, ratio=1.0, test=None, **more):
    test = loss + 1 if test is None else test
    first = 1.0 if np.isnan(ratio) else ratio
    columns = {"train_loss": [4, loss], "mean_step": [first, ratio]}
    columns |= {"val_loss": [4, loss], "test_loss": [4, test]}
    make_run(root, arm, seed, [0, 0], experiment="language", columns=columns, **more)


@pytest.mark.parametrize(
    ("losses", "width", "cut"),
    [
        ([2.0, 1.5, 1.0, 1.5, 2.0], 0.2, False),  # a tenth of an octave on each side
        ([1.1, 1.05, 1.0, 1.025, 1.1], 1 + 1 + 1 / 3, False),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 4, True),
        ([1.0, 1.02, 2.0, 1.0, 2.0], 1 + 0.05 / 1 - 0.02 * 0.05, None),
        ([np.inf] * 5, 0, False),
        ([2.0, 1.0, 1.01, np.inf, np.inf], 1.05, None),  # what diverged is no part of it
    ],
)
def test_octaves_reach_from_the_best_to_where_the_loss_has_risen(losses, width, cut):
    found, at_edge = octaves([0.5, 1, 2, 4, 8], losses)
    assert found == pytest.approx(width, abs=0.06)
    if cut is not None:
        assert at_edge is cut
    shuffled = [4, 1, 3, 0, 2]
    again = octaves([[0.5, 1, 2, 4, 8][k] for k in shuffled], [losses[k] for k in shuffled])
    assert again[0] == pytest.approx(found)


def test_validation_chooses_and_neither_test_nor_seeds_that_are_compared_do(tmp_path):
    make_grid(tmp_path, "rmsprop", [2.0, 1.8, 1.6, 1.7, 1.9, 2.5])
    for seed in (2, 9, 10, 11):  # would choose another rate, had they a say
        add(tmp_path, "rmsprop+lr=0.016", seed, 0.1)
    add(tmp_path, "rmsprop+best", 12, 0.01)
    runs = read_runs(tmp_path, scale="paper").runs
    assert choose(runs, "rmsprop", "val_loss")[:3] == (0.002, 1.0, False)
    assert choose([r for r in runs if r.seed > 1 or r.config["optimizer"]["lr"] > 0.001],
                  "rmsprop", "val_loss").at_edge  # fmt: skip
    with pytest.raises(NoChoice, match="the same seeds of"):
        choose(
            [r for r in runs if r.folder.parts[-2:] != ("rmsprop", "seed0")], "rmsprop", "val_loss"
        )
    for rate in RATES:
        add(tmp_path, at_rate("adamw+cautious", rate), 0, np.nan, status="diverged")
    lost = read_runs(tmp_path, scale="paper").runs
    with pytest.raises(NoChoice, match=r"no best rate of adamw\+cautious: at each one a run"):
        choose(lost, "adamw+cautious", "val_loss")
    with pytest.raises(NoChoice, match="finished are none"):
        choose(runs, "adamw", "val_loss")


def test_the_test_loss_does_not_choose(tmp_path):
    make_grid(tmp_path, "rmsprop", [2.0, 1.8, 1.6, 1.7, 1.9, 2.5], test=3.0, seeds=(0,))
    add(tmp_path, "rmsprop", 1, 1.8, test=0.1)
    for rate in RATES:
        if rate != 0.001:
            add(tmp_path, f"rmsprop+lr={rate:g}", 1, 1.6 if rate == 0.002 else 2.2, test=3.0)
    runs = read_runs(tmp_path, scale="paper").runs
    assert choose(runs, "rmsprop", "val_loss").rate == 0.002
    assert choose(runs, "rmsprop", "test_loss").rate == 0.001


def test_a_rate_at_which_a_run_diverged_is_not_chosen(tmp_path):
    make_grid(tmp_path, "rmsprop", [2.0, 1.8, 1.6], rates=RATES[:3], seeds=(0,))
    make_grid(tmp_path, "rmsprop", [2.1, 1.9], rates=RATES[:2], seeds=(1,))
    add(tmp_path, "rmsprop+lr=0.002", 1, np.nan, status="diverged")
    assert choose(read_runs(tmp_path, scale="paper").runs, "rmsprop", "val_loss").rate == 0.001


@pytest.fixture
def grids(tmp_path):
    make_grid(tmp_path, "rmsprop", [2.0, 1.8, 1.6, 1.7, 1.9, 2.5])
    make_grid(tmp_path, "rmsprop+magma0.5", [2.2, 2.0, 1.8, 1.61, 1.6, 1.64], ratio=0.25)
    make_grid(tmp_path, "adamw+lrd0.5+tensor+rescale", [2.2, 2.0, 1.8, 1.7, 1.6, 1.5])
    add(tmp_path, "rmsprop+magma0.5+lr=0.008", 10, 0.5)  # a seed to compare with is not shown
    return tmp_path


def test_the_table_has_best_rate_mean_step_loss_and_widths(grids, tmp_path, capsys):
    words = ["family_rates", "--runs-dir", str(grids), "--out", str(tmp_path / "tables")]
    tables.main(words)
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    rows = {(number < 10, row[1]): row[2:] for number, row in enumerate(rows)}  # RMSprop's or not
    tried = f"{RATES[0]:g} to {RATES[-1]:g} ({len(RATES)})"
    assert rows[True, "base"] == [
        tried, "0.002", "1.00", "1.605 ± 0.007 (2)", "0.8 ± 0.0", "0.8 ± 0.0",
    ]  # fmt: skip
    magma = rows[True, "Magma"]
    assert magma[:4] == [tried, "0.008", "0.25", "1.605 ± 0.007 (2)"]
    assert magma[4] == magma[5] == "≥ 2.2 ± 0.0"
    assert rows[True, "Cautious"][:2] == ["–", "–"]
    text = "\n".join(lines)
    assert "at the edge of the grid: adamw+lrd0.5+tensor+rescale." in text
    frame = pd.read_csv(tmp_path / "tables/paper/family_rates.csv").set_index(["arm", "lr"])
    assert len(frame) == 2 * 8 * len(ITEM.rates)
    best = frame.loc[("rmsprop+magma0.5", 0.008)]
    assert (best["n"], best["mean_step"], best["chosen"]) == (2, 0.25, True)
    assert best["test_mean"] == pytest.approx(2.605)
    assert frame["chosen"].sum() == 3


def test_the_figure_shows_each_arm_by_rate_and_by_mean_step(grids, tmp_path):
    make_grid(grids, "rmsprop+cautious", [2.2, 2.0, 1.8, 1.7, 1.9, 2.0], seeds=(0,))
    experiment = read_experiment(grids, "paper", "language", ITEM.arms())
    figure = rate_curves(ITEM, experiment, "paper")
    assert isinstance(figure, Figure)
    by_rate, by_step = figure.axes[:2]
    assert [axes.get_title().rpartition(", ")[2] for axes in figure.axes[1:3]] == [
        "n = 1–2",
        "n = 2",
    ]
    assert len(by_rate.lines) == len(by_step.lines) == 3
    np.testing.assert_allclose(by_rate.lines[1].get_xdata(), RATES)
    np.testing.assert_allclose(by_step.lines[1].get_xdata(), np.array(RATES) / 4)
    np.testing.assert_allclose(by_rate.lines[0].get_ydata()[2], 1.605)
    assert "by mean step" in by_step.get_title()
    under = [axes.get_xlabel().partition(":")[0] for axes in figure.axes]
    assert under == [""] * 2 + ["learning rate", "mean step"]  # of the last row
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["base", "SkipUpdate, tensor", "Magma", "Cautious"]  # those that were run
    written = make_figures("family_rates", grids, tmp_path / "out", "paper", None)
    assert [path.name for path in written] == ["family_rates.png", "family_rates.pdf"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_figure_of_few_or_diverged_runs_is_drawn_too(tmp_path):
    add(tmp_path, "rmsprop", 0, np.nan, status="diverged")
    experiment = read_experiment(tmp_path, "paper", "language", ITEM.arms())
    figure = rate_curves(ITEM, experiment, "paper")
    figure.canvas.draw()
    assert np.isinf(curve(ITEM, experiment, "rmsprop")["validation"]).all()
    assert not figure.axes[0].lines
    assert len(figure.axes) == 2  # of RMSprop alone
    text = figure._supxlabel.get_text().replace("\n", " ")
    assert "Not run: AdamW; SkipUpdate, element; SkipUpdate, row;" in text


def test_best_against_best_has_a_table_with_the_bases_at_the_arms_steps(tmp_path, capsys):
    for arm, loss in (("+best", 1.6), ("+magma0.5+best", 1.5), ("+step_of_magma0.5+best", 1.7)):
        for seed in (10, 11):
            add(tmp_path, f"rmsprop{arm}", seed, loss)
    tables.main(["family_best", "--runs-dir", str(tmp_path), "--out", str(tmp_path / "tables")])
    text = capsys.readouterr().out
    labels = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| Tiny")]
    assert [label.replace("\\", "") for label in labels] == ["last epoch"]
    assert text.count("| best epoch\\* |") == 1
    for method, result in (("base", 2.6), ("Magma", 2.5), ("base, Magma's step", 2.7)):
        assert f"| {method} | {result:.3f} ± 0.000 (2) | – |" in text


def test_on_mnist_the_error_on_held_out_images_chooses_by_rate_and_by_p_times_rate(
    tmp_path, capsys
):
    item = ITEMS["choice_sgdm"]
    for arm, accuracies in (
        ("sgdm", [98.0, 98.2, 98.4, 98.3, 98.1, 10.0]),
        ("sgdm+lrd0.5", [97.0, 98.0, 98.2, 98.4, 98.6, 98.1]),
        ("sgdm+weight_decay=0.0005", [98.0, 98.2, 98.75, 98.3, 98.1, 98.0]),
    ):
        for rate, accuracy in zip(item.rates, accuracies, strict=True):
            curve = [10, accuracy] + [accuracy + 0.2, accuracy - 0.2] * 4 + [accuracy - 0.2]
            curve += [accuracy + 0.2]  # of the last epoch alone, the error is 0.2 less
            make_run(tmp_path, at_rate(arm, rate), 0, curve, experiment="mnist_choice")
    runs = read_runs(tmp_path, scale="paper").runs
    whole = choose(runs, "sgdm", "test_accuracy", ("lr", "weight_decay"))
    assert whole == (0.05, 1.0, False, 0.0005)
    tables.main(["choice_sgdm", "--runs-dir", str(tmp_path), "--out", str(tmp_path / "tables")])
    text = capsys.readouterr().out
    assert "| SGDM | base | 0.0125 to 0.4 (6) | 0.05 | 1.00 | 1.60 (1) | " in text
    assert "| LRD | 0.0125 to 0.4 (6) | 0.2 | 0.50 | 1.40 (1) | " in text
    assert "| base, weight decay 0.0005 | 0.0125 to 0.4 (6) | 0.05 | 1.00 | 1.25 (1) | " in text
    assert "Error on held-out images" in text
    assert re.search(r"training and [\d,]+ held-out images;", text)
    assert "test_mean" not in pd.read_csv(tmp_path / "tables/paper/choice_sgdm.csv")
    experiment = read_experiment(tmp_path, "paper", "mnist_choice", item.arms())
    by_rate, by_step = rate_curves(item, experiment, "paper").axes
    np.testing.assert_allclose(by_rate.lines[1].get_xdata(), item.rates)
    np.testing.assert_allclose(by_step.lines[1].get_xdata(), np.array(item.rates) / 2)
    assert by_rate.get_ylabel() == "error on held-out images (points)"


def test_the_familys_claims_compare_arms_of_its_sweep_and_stand_for_every_base():
    claims = [claim for claim in read_claims().claims if claim.experiment == "language"]
    best = [claim for claim in claims if claim.sweep == "family_best"]
    ranges = [claim for claim in claims if claim.sweep == "family_rates"]
    assert (len(best), len(ranges)) == (22, 6)
    assert all(arm.endswith("+best") for claim in best for arm in claim.arms)
    arms = {"+".join(a for a in arm.split("+") if "lr=" not in a) for c in ranges for arm in c.arms}
    assert arms == {
        base + suffix
        for base in ("rmsprop", "adamw")
        for suffix in ("", "+magma0.5", "+lrd0.5+tensor+rescale")
    }


def test_ranges_of_rates_are_compared_in_octaves_and_judged_where_the_claims_say(tmp_path):
    """Magma's is the base's, two octaves up and one octave wider; its mean step is a quarter."""
    base, wider = [2, 1.5, 1, 1.5, 2, 2.5, 3], [3, 3, 2, 1.5, 1, 1, 1.5]
    for seed in range(5):
        shift = 0.001 * seed**2
        make_grid(
            tmp_path, "rmsprop", [x + shift for x in base], (seed,), rates=WHOLE, scale="lite"
        )
        make_grid(
            tmp_path, "rmsprop+magma0.5", [x + shift * (-1) ** k for k, x in enumerate(wider)],
            (seed,), 0.25, rates=WHOLE, scale="lite",
        )  # fmt: skip
    more = "\n    judged_at: [lite]\n    sweep: family_rates"
    text = """
      Wider in rate: {statistic: "octaves:rate", margin: 0.5, pairs: [[rmsprop+magma0.5, rmsprop]]}
      Wider in step: {statistic: "octaves:mean_step", pairs: [[rmsprop+magma0.5, rmsprop]]}"""
    path = tmp_path / "claims.yaml"
    path.write_text(HEAD + family(text, "language", more=more))
    claims, runs = read_claims(path), read_runs(tmp_path, scale="lite")
    verdicts = judge(claims, runs, "lite")
    for verdict in verdicts:
        (test,) = verdict.tested
        assert test.measured.second == pytest.approx(0.2, abs=1e-6)
        assert test.result.mean == pytest.approx(1, abs=0.05)
        assert (verdict.verdict, test.result.n) == ("supported", 5)
        assert evidence(verdict).endswith("] octaves")
    for row in csv.DictReader(files(verdicts, "lite", claims)["pairs.csv"].splitlines()):
        names = row["runs"].split()
        assert (len(names), len(set(names))) == (70, 70)
    path.write_text(path.read_text().replace("    judged_at: [lite]\n", ""))
    assert {v.verdict for v in judge(read_claims(path), runs, "lite")} == {"points for"}


def measured_ranges(root, statistic):
    path = root / "claims.yaml"
    claim = f"""
      Wider: {{statistic: "octaves:{statistic}", pairs: [[rmsprop+cautious, rmsprop]]}}"""
    path.write_text(HEAD + family(claim, "language"))
    (verdict,) = judge(read_claims(path), read_runs(root, scale="paper"))
    return verdict.tested[0].measured


@pytest.mark.parametrize("statistic", ["rate", "mean_step"])
def test_a_rate_at_which_an_arm_diverges_ends_its_range(tmp_path, statistic):
    make_grid(tmp_path, "rmsprop", [2, 1.5, 1, 1, 1], (0,), rates=WHOLE[:5])
    for rate in WHOLE[5:]:
        add(tmp_path, at_rate("rmsprop", rate), 0, np.nan, np.nan, status="diverged")
    make_grid(tmp_path, "rmsprop+cautious", [2, 1.5, 1, 1, 1, 1, 2], (0,), rates=WHOLE)
    measured = measured_ranges(tmp_path, statistic)
    assert measured.first == pytest.approx(3.15)
    assert measured.second == pytest.approx(2.1)
    assert measured.diverged == {}


def test_a_range_that_the_grid_cuts_is_no_range_until_it_ends_beyond(tmp_path):
    make_grid(tmp_path, "rmsprop", [2, 1.5, 1, 1, 1, 1, 2], range(3), rates=WHOLE)
    make_grid(tmp_path, "rmsprop+cautious", [2, 1.5, 1, 1, 1, 1, 1], rates=WHOLE)
    add(tmp_path, "rmsprop+cautious+lr=0.064", 0, 1.0)
    add(tmp_path, "rmsprop+cautious", 2, 1.0)  # a seed without the rest of the grid
    for by in ("rate", "mean_step"):
        cut = measured_ranges(tmp_path, by)
        assert (cut.seeds, cut.silent) == ([], [0, 1])
    add(tmp_path, "rmsprop+cautious+lr=0.128", 0, 2.0)
    ended = measured_ranges(tmp_path, "rate")
    assert (ended.seeds, ended.silent, len(ended.runs[0])) == ([0], [1], 7 + 9)
    assert ended.first == pytest.approx(5.15)
