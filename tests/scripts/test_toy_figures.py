"""Figure 4: its table, pictures and plan, from runs of the toy."""

import shutil
from dataclasses import replace
from itertools import product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

from experiments.record.reader import read_runs
from experiments.run import run
from helpers.commands import ROOT, configure
from helpers.synthetic import read_experiment
from helpers.words import assert_no_words_overlap
from models import toy
from scripts import plan
from scripts.catalogue import ITEMS, KEEP_PROBS, TOY_RATES, toy_arm
from scripts.figures import toy as toy_figures
from scripts.figures.__main__ import make_figures
from scripts.figures.style import STYLE
from scripts.gather import ResultError
from scripts.tables import toy as toy_shares
from scripts.tables.__main__ import make_table, table_of

ITEM = ITEMS["figure4"]


def read(root):
    """The arms of Figure 4 at smoke scale."""
    return read_experiment(root, "smoke", "toy", ITEM.arms())


def made(root, out):
    """Every file of Figure 4."""
    make_table("figure4", root, out, "smoke", None)
    make_figures("figure4", root, out, "smoke", None)
    return sorted((out / "smoke").iterdir())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """All arms of Figure 4 at smoke scale, two seeds; a few steps of a few starts."""
    root = tmp_path_factory.mktemp("toy")
    config = configure("experiment=toy", "lrd.enabled=true", runs_dir=root)
    for rate, p, seed in product(TOY_RATES, KEEP_PROBS, (0, 1)):
        parts = {"optimizer": {**config["optimizer"], "lr": rate}, "lrd": {**config["lrd"], "p": p}}
        assert run({**config, **parts, "seed": seed}) == "done"
    return root


def test_every_cell_of_the_table_is_filled_and_tells_the_runs_shares(sweep, tmp_path):
    written = made(sweep, tmp_path)
    assert [path.name for path in written] == [
        *("figure4-basins.pdf", "figure4-basins.png", "figure4.csv", "figure4.md", "figure4.pdf"),
        *("figure4.png", "figure4.tex"),
    ]
    assert all(path.stat().st_size > 500 for path in written)
    table = pd.read_csv(tmp_path / "smoke/figure4.csv")
    assert len(table) == 18
    assert not table.drop(columns=["seeds"]).isna().any().any()
    for row in table.itertuples():
        ends = [
            pd.read_csv(sweep / f"smoke/toy/{row.arm}/seed{seed}/metrics.csv").iloc[-1]
            for seed in (0, 1)
        ]
        found = [100 * end["global_share"] for end in ends]
        assert row.global_mean == pytest.approx(np.mean(found), abs=1e-3)
        assert row.global_std == pytest.approx(np.std(found, ddof=1), abs=1e-3)
        total = row.global_mean + row.local_mean + row.outside_mean + row.none_mean
        assert total == pytest.approx(100, abs=1e-2)
    assert "–" not in (tmp_path / "smoke/figure4.csv").read_text()
    assert (tmp_path / "smoke/figure4.tex").read_text().isascii()


def test_starts_in_no_basin_yet_are_shown(sweep):
    """Else a run that stops too early would look like one whose starts went elsewhere."""
    experiment = read(sweep)
    settled, early = "adam+lr=0.05", "adam+lrd0.5+lr=0.05"
    for arm, local in ((settled, 0.58), (early, 0.28)):
        shares = {"global_share": 0.4, "local_share": local, "outside_share": 0.02}
        columns = {name: [share] for name, share in shares.items()}
        runs = [replace(run, metrics=run.metrics | columns) for run in experiment[arm].done]
        experiment.arms[arm] = replace(experiment[arm], done=runs)
    table = toy_shares.summary(ITEM, [experiment], "smoke")
    column = table.header.index("none yet")
    cells = {row[1]: row[column] for row in table.rows[6:12]}
    assert (cells["0.5"], cells["1 (Adam alone)"]) == ("30.0 ± 0.0", "0.0 ± 0.0")
    frame = toy_shares.frame(ITEM, [experiment], "smoke").set_index("arm")
    assert frame.loc[early, "none_mean"] == pytest.approx(30)
    assert frame.loc[settled, "none_mean"] == pytest.approx(0)


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(sweep, tmp_path):
    first, second = (made(sweep, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_differences_are_paired_by_seed(sweep):
    experiment, names = read(sweep), ("adam+lrd0.5+lr=0.1", "adam+lr=0.1")
    masked, base = (experiment[name] for name in names)
    by_hand = [
        toy_shares.shares(m)["global"] - toy_shares.shares(b)["global"]
        for m, b in zip(masked.done, base.done, strict=True)
    ]
    first = base.done[0]
    elsewhere = replace(first, info=first.info | {"cpu": "another processor"})
    for done, left in (
        (base.done, by_hand),
        (base.done[::-1], by_hand),
        (base.done[1:], by_hand[1:]),
        ([elsewhere, *base.done[1:]], by_hand[1:]),
    ):
        experiment.arms[names[1]] = type(base)(done)
        assert toy_shares.differences(experiment, *names) == pytest.approx(left)


def test_smaller_rates_that_have_the_same_mean_step_are_found():
    assert toy_shares.smaller_steps() == [(0.1, 0.1, 0.01), (0.1, 0.5, 0.05)]


def test_what_a_smaller_rate_makes_of_the_change_is_told():
    """From the committed runs, by hand."""
    table = table_of(ITEM, read_runs(ROOT / "results" / "runs", scale="paper"), "paper")
    arms = ("adam+lr=0.1", "adam+lrd0.5+lr=0.1", "adam+lr=0.05")
    base, masked, smaller = (
        np.mean([
            pd.read_csv(ROOT / f"results/runs/paper/toy/{arm}/seed{seed}/metrics.csv")
            .global_share.iloc[-1] for seed in range(20)
        ]) for arm in arms
    )  # fmt: skip
    share = f"it makes {100 * (smaller - base) / (masked - base):.0f} % ["
    (note,) = [note for note in table.notes if "p = 0.5 at rate 0.1" in note]
    assert f", 20 pairs: {100 * (masked - smaller):+.1f} [" in note
    assert share in note


def test_what_is_not_run_is_a_dash_and_without_any_run_the_command_is_named(sweep, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(sweep, root)
    shutil.rmtree(root / "smoke/toy/adam+lrd0.9+lr=0.1")
    row = toy_shares.summary(ITEM, [read(root)], "smoke").rows[-2]
    assert row == ["", "0.9", "0", "–", "–", "–", "–", "–"]
    shutil.rmtree(root / "smoke/toy/adam+lrd0.5")
    with pytest.raises(ResultError, match=r"\+sweep=figure4"):
        toy_figures.draw_paths(read(root), "smoke")
    with pytest.raises(ResultError, match=r"\+sweep=figure4"):
        make_table("figure4", tmp_path / "none", tmp_path, "smoke", None)


def test_figure_4_draws_the_paths_of_the_record_in_the_box(sweep):
    figure = toy_figures.draw_paths(read(sweep), "smoke")
    for axes, arm in zip(figure.axes, ("adam", "adam+lrd0.5"), strict=True):
        table = pd.read_csv(sweep / f"smoke/toy/{arm}/seed0/paths.csv")
        drawn = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) > 1]
        kept = [path[["x", "y"]].to_numpy() for _, path in table.groupby("start") if len(path) > 2]
        assert len(drawn) == len(kept) == 9
        for line, path in zip(drawn, kept, strict=True):
            np.testing.assert_array_equal(line, path)
        assert (axes.get_xlim(), axes.get_ylim()) == (toy.X, toy.Y)
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts() if text.get_text().startswith("path")]
    outcomes = set()
    for arm in ("adam", "adam+lrd0.5"):
        ends = pd.read_csv(sweep / f"smoke/toy/{arm}/seed0/paths.csv").groupby("start")
        whole = [path.iloc[-1] for _, path in ends if len(path) > 2]
        places = torch.tensor([[end["x"], end["y"]] for end in whole])
        outcomes |= set(toy.basins(places).tolist())
    assert len(named) == len(outcomes)


def test_basins_figure_has_a_line_an_outcome_and_bars_over_seeds(sweep):
    experiment = read(sweep)
    figure = toy_figures.draw_basins(experiment, "smoke")
    assert len(figure.axes) == 3
    for axes, rate in zip(figure.axes, TOY_RATES, strict=True):
        assert len(axes.containers) == 4
        line, _, (bars,) = axes.containers[0]
        values = toy_shares.values(experiment[toy_arm(rate, KEEP_PROBS[0])], "global")
        assert len(values) == 2
        assert list(line.get_xdata()) == list(KEEP_PROBS)
        low, high = (np.array(bars.get_segments())[:, end, 1] for end in (0, 1))
        assert (low <= line.get_ydata()).all()
        assert (line.get_ydata() <= high).all()
        assert (low < high).any()


def test_a_plan_can_be_made_of_the_toy():
    (planned,) = plan.runs_of("figure4", "smoke", "0", ["optimizer.lr=0.01", "lrd.p=1"])
    assert planned.hours < 0.01


@pytest.mark.parametrize("name", ["figure4", "basins"])
def test_no_words_overlap(sweep, name):
    draw = {"figure4": toy_figures.draw_paths, "basins": toy_figures.draw_basins}
    with mpl.rc_context(STYLE):
        assert_no_words_overlap(draw[name](read(sweep), "smoke"))
