"""The toy example: its function and basins, its runs, and what is made of them."""

import csv
import shutil
from itertools import combinations, pairwise, product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from scipy import ndimage

import lrd
from commands import configure, sweep_configurations
from experiments import toy as task
from experiments.checks import ConfigError
from experiments.interruption import Interrupted
from experiments.naming import run_folder
from experiments.record import read_runs
from experiments.run import run
from experiments.verify import faults
from models import toy
from models.toy import BASINS, basins, objective
from scripts import method_figures, plan, toy_figures, toy_shares
from scripts.arms import ResultError
from scripts.figures import STYLE


def point(*coordinates):
    return torch.tensor(coordinates, dtype=torch.float64)


def paths(folder):
    return pd.read_csv(folder / "paths.csv")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (toy.GLOBAL_MINIMUM, 0.0537),
        (toy.LOCAL_MINIMUM, 0.2753),
        ((0.0, 0.0), 14.203125),
        ((0.0, -1.7), 14.203125),  # along all of x = 0
        ((-1.0, 2.0), (1.5 - 1 - 2) ** 2 + (2.25 - 1 - 4) ** 2 + (2.625 - 1 - 8) ** 2),
    ],
)
def test_the_function_is_the_papers(place, value):
    assert objective(point(*place)).item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("place", "descending"), [(toy.GLOBAL_MINIMUM, 0), (toy.LOCAL_MINIMUM, 0), (toy.SADDLE, 1)]
)
def test_minima_and_saddle_are_where_they_are_said_to_be(place, descending):
    gradient = torch.autograd.functional.jacobian(objective, point(*place))
    assert gradient.abs().max() < 0.02  # four decimals, and curvatures up to 125
    hessian = torch.autograd.functional.hessian(objective, point(*place))
    assert (torch.linalg.eigvalsh(hessian) < 0).sum() == descending
    assert objective(point(*toy.SADDLE)).item() == pytest.approx(toy.BARRIER, abs=1e-4)


def test_basins_are_the_connected_parts_of_the_level_set_below_the_saddle():
    x, y = torch.linspace(-6, 4, 1200), torch.linspace(-5, 6, 1200)
    grid = torch.stack(torch.meshgrid(x, y, indexing="ij"), dim=-1).double()
    numbers = basins(grid).numpy()
    below = (objective(grid) < toy.BARRIER).numpy()
    assert ((numbers > 0) == below).all()
    parts, count = ndimage.label(below, structure=np.ones((3, 3)))
    found = [set(numbers[parts == part]) for part in range(1, count + 1)]
    assert sorted(map(tuple, found)) == [(1,), (2,), (3,)]
    assert BASINS[basins(point(*toy.GLOBAL_MINIMUM))] == "global"
    assert BASINS[basins(point(*toy.LOCAL_MINIMUM))] == "local"
    assert BASINS[basins(point(1.674, 0.606))] == "outside"
    assert BASINS[basins(point(-1.0, -1.0))] == "none"


def test_there_is_one_start_in_each_cell_of_the_box():
    torch.manual_seed(0)
    first, second = toy.toy(20).points.detach(), toy.toy(20).points.detach()
    low, high = torch.tensor((toy.X, toy.Y)).T
    cells = ((first - low) / (high - low) * 20).floor()
    expected = [[column, row] for row in range(20) for column in range(20)]
    assert cells.tolist() == expected
    assert not torch.equal(first, second)
    with pytest.raises(ValueError, match="side must be at least 1, got 0"):
        toy.toy(0)


def test_a_run_leaves_a_whole_record_and_is_not_made_again(make):
    status, folder = make("experiment=toy", "lrd.enabled=true")
    assert status == "done"
    names = {path.name for path in folder.iterdir()}
    files = {"config.yaml", "metrics.csv", "timing.csv", "paths.csv", "run.json"}
    assert names - {".lock"} == files
    metrics = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["epoch"] for row in metrics] == ["1", "2"]
    assert make("experiment=toy", "lrd.enabled=true")[0] == "skipped"
    (read,) = read_runs(folder.parents[3], scale="smoke")
    assert faults(read) == []
    text = (folder / "paths.csv").read_text()
    (folder / "paths.csv").write_text(text.replace("0,0,", "0,1,", 1))
    assert "a file is not as the run left it" in faults(read)[0]


def test_paths_begin_at_the_starts_and_end_where_the_metrics_say(make):
    _, folder = make("experiment=toy", "lrd.enabled=true")
    table = paths(folder)
    assert list(table) == ["start", "step", "x", "y", "f"]
    assert set(table["start"]) == set(range(36))
    assert set(table.groupby("start")["step"].min()) == {0}
    assert set(table.groupby("start")["step"].max()) == {40}
    whole = table["start"].value_counts().loc[lambda counts: counts > 2]
    assert sorted(whole.index) == task.shown(36) == [7, 9, 11, 19, 21, 23, 31, 33, 35]
    values = objective(torch.from_numpy(table[["x", "y"]].to_numpy())).numpy()
    np.testing.assert_allclose(values, table["f"], rtol=1e-3, atol=1e-4)
    ends = table.groupby("start").last()
    numbers = basins(torch.from_numpy(ends[["x", "y"]].to_numpy()))
    last = pd.read_csv(folder / "metrics.csv").iloc[-1]
    for name in ("global", "local", "outside"):
        share = (numbers == BASINS.index(name)).double().mean().item()
        assert last[f"{name}_share"] == pytest.approx(share)
    assert last["train_loss"] == pytest.approx(ends["f"].mean(), rel=1e-3)


def test_a_kept_path_has_no_gap_that_a_step_does_not_make(make):
    _, folder = make("experiment=toy", "lrd.enabled=true", "data.steps=200")
    for _, path in paths(folder).groupby("start"):
        if len(path) > 2:
            gaps = np.hypot(*np.diff(path[["x", "y"]].to_numpy(), axis=0).T)
            assert gaps[:-1].min() > 0.0199  # but for the last point, kept wherever it is
            assert gaps.max() < 0.02 + 0.045  # at 0.01, Adam's steps are at most so long


def test_each_start_moves_as_if_it_were_alone(make):
    _, folder = make("experiment=toy")
    ends = paths(folder).groupby("start").agg(["first", "last"])
    for start in (0, 17, 35):
        values = torch.tensor(ends.loc[start][[("x", "first"), ("y", "first")]].to_numpy())
        alone = torch.nn.Parameter(values.float())
        optimizer = torch.optim.Adam([alone], lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            objective(alone).backward()
            optimizer.step()
        reached = ends.loc[start][[("x", "last"), ("y", "last")]].to_numpy()
        np.testing.assert_allclose(alone.detach(), reached, atol=1e-5)


def test_base_and_lrd_begin_at_the_same_starts_and_seeds_do_not(make):
    folders = [make("experiment=toy", *words)[1] for words in ((), ("lrd.enabled=true",))]
    folders.append(make("experiment=toy", "seed=1")[1])
    base, masked, other = (
        paths(folder).query("step == 0")[["x", "y"]].to_numpy() for folder in folders
    )
    np.testing.assert_array_equal(base, masked)
    assert not np.allclose(base, other)
    ends = [paths(folder).query("step == 40")["x"].to_numpy() for folder in folders[:2]]
    assert (ends[0] != ends[1]).all()


def test_after_one_step_dropped_coordinates_are_where_they_were(make):
    words = ("experiment=toy", "lrd.enabled=true", "epochs=1", "data.steps=1")
    _, folder = make(*words)
    table = paths(folder)
    places = [
        table.query(f"step == {step}").drop_duplicates("start")[["x", "y"]].to_numpy()
        for step in (0, 1)
    ]
    moved = places[0] != places[1]
    assert 20 < moved.sum() < 52  # of 72, at p = 0.5
    np.testing.assert_allclose(np.abs(places[1] - places[0])[moved], 0.01, rtol=1e-3)


def test_rival_methods_and_controls_work_on_the_toy(make):
    losses = []
    for words in ((), ("regularizer.noisy_gradient=0.1",), ("regularizer.dropout_gradient=0.5",),
                  ("lr_scale=0.5",), ("optimizer=sgdm", "optimizer.lr=1e-6")):  # fmt: skip
        status, folder = make("experiment=toy", *words)
        assert status == "done"
        losses.append(pd.read_csv(folder / "metrics.csv")["train_loss"].iloc[-1])
    assert len(set(losses)) == 5


def test_a_run_leaves_the_global_generator_alone(make):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    make("experiment=toy", "lrd.enabled=true")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_was_interrupted_starts_again_and_ends_the_same(make, tmp_path, monkeypatch):
    _, whole = make("experiment=toy", "lrd.enabled=true", where=tmp_path / "whole")

    def interrupt(_):
        raise Interrupted(2)

    with monkeypatch.context() as patch:
        patch.setattr("experiments.interruption.Interruption.check", interrupt)
        with pytest.raises(Interrupted):
            make("experiment=toy", "lrd.enabled=true")
    (cut,) = read_runs(tmp_path, scale="smoke")
    assert (cut.status, len(cut.metrics)) == ("failed", 1)
    status, folder = make("experiment=toy", "lrd.enabled=true")
    assert status == "done"
    for name in ("metrics.csv", "paths.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("steps", ["0", "many", "1.5"])
def test_a_number_of_steps_that_makes_no_sense_is_refused(tmp_path, steps):
    config = configure("experiment=toy", f"data.steps={steps}", runs_dir=tmp_path / "runs")
    with pytest.raises(ConfigError, match=r"data\.steps must be"):
        run(config)
    assert not (tmp_path / "runs").exists()


def test_a_function_without_a_bottom_ends_as_diverged(make):
    status, folder = make("experiment=toy", "optimizer=sgdm", "optimizer.lr=1.0")
    assert status == "diverged"
    (read,) = read_runs(folder.parents[3], scale="smoke")
    assert faults(read) == []


def test_table_and_figures_have_the_arms_of_the_sweep():
    made = {run_folder(config).parent.name for config in sweep_configurations("figure4")}
    wanted = {toy_shares.arm_of(r, p) for r in toy_shares.RATES for p in toy_shares.KEEP_PROBS}
    assert made == wanted


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """All arms of Figure 4 at smoke scale, two seeds; a few steps of a few starts."""
    root = tmp_path_factory.mktemp("toy")
    config = configure("experiment=toy", "lrd.enabled=true", runs_dir=root)
    for rate, p, seed in product(toy_shares.RATES, toy_shares.KEEP_PROBS, (0, 1)):
        parts = {"optimizer": {**config["optimizer"], "lr": rate}, "lrd": {**config["lrd"], "p": p}}
        assert run({**config, **parts, "seed": seed}) == "done"
    return root


def test_every_cell_of_the_table_is_filled_and_tells_the_runs_shares(sweep, tmp_path):
    written = toy_figures.make(sweep, tmp_path / "figures", tmp_path / "tables", "smoke")
    assert all(path.stat().st_size > 500 for path in written)
    table = pd.read_csv(tmp_path / "tables/smoke/figure4.csv")
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
    assert "–" not in (tmp_path / "tables/smoke/figure4.csv").read_text()
    assert (tmp_path / "tables/smoke/figure4.tex").read_text().isascii()


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(sweep, tmp_path):
    first, second = (
        toy_figures.make(sweep, tmp_path / name, tmp_path / name, "smoke") for name in "ab"
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_differences_are_paired_by_seed(sweep):
    read = toy_shares.read_rates(sweep, "smoke")[0.1]
    base, masked = read["adam+lr=0.1"], read["adam+lrd0.5+lr=0.1"]
    by_hand = [
        toy_shares.shares(m)["global"] - toy_shares.shares(b)["global"]
        for m, b in zip(masked.done, base.done, strict=True)
    ]
    assert toy_shares.differences(masked, base) == by_hand
    swapped = type(base)(base.done[::-1])
    assert toy_shares.differences(masked, swapped) == by_hand
    assert toy_shares.differences(masked, type(base)(base.done[1:])) == by_hand[1:]


def test_smaller_rates_that_have_the_same_mean_step_are_found():
    assert toy_shares.smaller_steps() == [(0.1, 0.1, 0.01), (0.1, 0.5, 0.05)]


def test_what_is_not_run_is_a_dash_and_without_any_run_the_command_is_named(sweep, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(sweep, root)
    shutil.rmtree(root / "smoke/toy/adam+lrd0.9+lr=0.1")
    read = toy_shares.read_rates(root, "smoke")
    row = toy_shares.summary(read, "smoke").rows[-2]
    assert row == ["", "0.9", "0", "–", "–", "–", "–", "–"]
    shutil.rmtree(root / "smoke/toy/adam+lrd0.5")
    with pytest.raises(ResultError, match=r"\+sweep=figure4"):
        toy_figures.draw_paths(toy_shares.read_rates(root, "smoke")[0.01], "smoke")
    with pytest.raises(ResultError, match=r"\+sweep=figure4"):
        toy_shares.read_rates(tmp_path / "none", "smoke")


def test_figure_4_draws_the_paths_of_the_record_in_the_box(sweep):
    experiment = toy_shares.read_rates(sweep, "smoke")[0.01]
    figure = toy_figures.draw_paths(experiment, "smoke")
    for axes, arm in zip(figure.axes, ("adam", "adam+lrd0.5"), strict=True):
        table = paths(sweep / f"smoke/toy/{arm}/seed0")
        drawn = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) > 1]
        kept = [path[["x", "y"]].to_numpy() for _, path in table.groupby("start") if len(path) > 2]
        assert len(drawn) == len(kept) == 9
        for line, path in zip(drawn, kept, strict=True):
            np.testing.assert_array_equal(line, path)
        assert (axes.get_xlim(), axes.get_ylim()) == (toy.X, toy.Y)


def test_basins_figure_has_a_line_an_outcome_and_bars_over_seeds(sweep):
    read = toy_shares.read_rates(sweep, "smoke")
    figure = toy_figures.draw_basins(read, "smoke")
    assert len(figure.axes) == 3
    for axes, experiment in zip(figure.axes, read.values(), strict=True):
        assert len(axes.containers) == 4
        line, _, (bars,) = axes.containers[0]
        values = toy_shares.values(next(iter(experiment.arms.values())), "global")
        assert len(values) == 2
        assert list(line.get_xdata()) == list(toy_shares.KEEP_PROBS)
        low, high = (np.array(bars.get_segments())[:, end, 1] for end in (0, 1))
        assert (low <= line.get_ydata()).all()
        assert (line.get_ydata() <= high).all()
        assert (low < high).any()


def test_a_plan_can_be_made_of_the_toy():
    config, *_ = plan.configurations("figure4", ["scale=smoke", "seed=0"])
    assert plan.sizes(config) == (20, 0)
    cost = plan.calibrate([config])
    assert 0 < plan.hours(config, cost) < 0.01


def test_figure_1s_descent_is_trapped_and_with_lrd_it_is_not():
    trapped, updates, _ = method_figures.saddle_states(masked=False)
    assert torch.equal(trapped[:, 0], trapped[:, 1])
    assert 0 < method_figures.saddle(trapped[-1]) < 0.01
    torch.testing.assert_close(trapped[1:] - trapped[:-1], updates)
    free, updates, masks = method_figures.saddle_states(masked=True)
    assert method_figures.saddle(free[-1]) < -0.5
    torch.testing.assert_close(free[1:] - free[:-1], updates * masks)
    for step, mask in enumerate(masks):
        kept = lrd.keep_mask(2, 0.5, seed=method_figures.SADDLE_SEED, step=step, index=0)
        assert torch.equal(mask, kept)


def test_figure_2_draws_the_masks_of_the_package():
    panels = method_figures.draw_net().axes
    for step, axes in enumerate(panels[2:]):
        masks = method_figures.net_masks(step)
        for layer, mask in enumerate(masks):
            shape = (method_figures.LAYERS[layer + 1], method_figures.LAYERS[layer])
            assert torch.equal(mask, lrd.keep_mask(shape, 0.5, seed=0, step=step, index=layer))
        weights = [line for line in axes.lines if len(line.get_xdata()) == 2]
        dashed = [line for line in weights if line.is_dashed()]
        assert len(weights) == sum(mask.numel() for mask in masks)
        assert len(dashed) == sum((~mask).sum().item() for mask in masks)
    plain = [line for line in panels[0].lines if len(line.get_xdata()) == 2]
    assert len(plain) == 36
    assert not any(line.is_dashed() for line in plain)
    units = method_figures.unit_masks()
    between = sum(int(a.sum() * b.sum()) for a, b in pairwise(units))
    assert len([line for line in panels[1].lines if len(line.get_xdata()) == 2]) == between < 36


def test_figure_3_has_eight_paths_that_descend_unless_all_is_dropped():
    masks, updates, after = method_figures.descent_paths()
    assert len({tuple(mask) for mask in masks.tolist()}) == 8
    before = method_figures.cube_loss(torch.tensor(method_figures.CUBE_START))
    for mask, update, f in zip(masks, updates, after, strict=True):
        assert torch.equal(update != 0, mask)
        assert f < before if mask.any() else f == before
    assert after[0] == after.min()


@pytest.mark.parametrize("name", method_figures.FIGURES)
def test_drawings_are_written_and_the_same_each_time(tmp_path, name):
    first = method_figures.make(name, tmp_path / "a")
    second = method_figures.make(name, tmp_path / "b")
    assert [path.name for path in first] == [f"{name}.png", f"{name}.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("name", [*method_figures.FIGURES, "figure4", "basins"])
def test_no_words_overlap(sweep, name):
    read = toy_shares.read_rates(sweep, "smoke")
    with mpl.rc_context(STYLE):
        if name == "figure4":
            figure = toy_figures.draw_paths(read[0.01], "smoke")
        elif name == "basins":
            figure = toy_figures.draw_basins(read, "smoke")
        else:
            figure = method_figures.FIGURES[name]()
        figure.canvas.draw()
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        boxes = {text: text.get_window_extent().shrunk(0.98, 0.9) for text in texts}
    assert len(texts) > 8
    ticks = {label for axes in figure.axes for label in tick_labels(axes)}
    for one, other in combinations([text for text in texts if text not in ticks], 2):
        assert not boxes[one].overlaps(boxes[other]), (one.get_text(), other.get_text())


def tick_labels(axes):
    return [*axes.get_xticklabels(), *axes.get_yticklabels()]
