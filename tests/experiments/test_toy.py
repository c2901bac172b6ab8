"""The toy example: its function and basins, and its runs."""

import csv

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from experiments.configuration import ConfigError
from experiments.record.faults import faults
from experiments.record.reader import read_runs
from experiments.run import run
from experiments.signals import Interrupted
from experiments.tasks import toy as task
from helpers.commands import configure
from models import toy
from models.toy import BASINS, basins, objective


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
    assert names - {".lock", "checkpoint.pt"} == files
    metrics = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["epoch"] for row in metrics] == ["1", "2"]
    assert make("experiment=toy", "lrd.enabled=true")[0] == "skipped"
    (read,) = read_runs(folder.parents[3], scale="smoke").runs
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


def test_the_level_set_below_the_saddle_lies_inside_that_grid():
    """However far a long run goes, there is no basin that the grid above has not."""
    places = []
    for y in np.concatenate((np.linspace(-30, 30, 3001), np.geomspace(30, 1e3, 50) * [[-1], [1]]),
                            axis=None):  # fmt: skip
        terms = [np.poly1d([-1.0, y**k, c]) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))]
        roots = (sum((term**2 for term in terms), np.poly1d([-toy.BARRIER]))).roots
        places += [(root.real, y) for root in roots if abs(root.imag) < 1e-9]
    x, y = np.array(places).T
    assert len(x) > 50
    assert -6 < x.min() < x.max() < 4
    assert -5 < y.min() < y.max() < 6


def test_in_the_valley_along_x_0_a_descent_goes_on_without_a_basin():
    y = -torch.tensor([5.0, 20.0, 100.0], dtype=torch.float64)
    valley = torch.stack((-2.625 / y**3, y), dim=-1)
    values = objective(valley)
    assert (values.diff() < 0).all()
    assert values[-1] == pytest.approx(1.5**2 + 2.25**2, abs=0.2)
    assert [BASINS[number] for number in basins(valley)] == ["none"] * 3


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 5000])
@pytest.mark.parametrize("length", [0.0, 0.01, 0.05, 3.0])
def test_of_a_path_the_first_and_last_steps_are_kept_whatever_it_does(steps, length):
    path = torch.zeros(steps + 1, 2, dtype=torch.float64)
    path[:, 0] = length * torch.arange(steps + 1)
    path[1::2, 1] = length
    kept = task.kept_steps(path)
    assert (kept[0], kept[-1]) == (0, steps)
    assert kept == sorted(set(kept))


def test_a_path_that_never_rests_is_kept_step_by_step_at_first_and_ever_thinner_later():
    path = torch.zeros(12_001, 2, dtype=torch.float64)
    path[1::2] = 1.0  # from one side to the other at each step
    kept = task.kept_steps(path)
    assert kept[:101] == list(range(101))
    assert len(kept) < 700
    late = [step for step in kept if step > 5000]
    assert 0.009 < max(np.diff(late)) / late[-1] < 0.02


def test_a_path_that_rests_is_its_two_ends():
    assert task.kept_steps(torch.full((500, 2), 0.3, dtype=torch.float64)) == [0, 499]


def test_a_kept_path_has_no_gap_that_its_steps_do_not_make(make):
    _, folder = make("experiment=toy", "lrd.enabled=true", "data.steps=200")
    for _, path in paths(folder).groupby("start"):
        if len(path) > 2:
            steps = path["step"].to_numpy()
            gaps = np.hypot(*np.diff(path[["x", "y"]].to_numpy(), axis=0).T)
            assert gaps[:-1].min() > 0.0299  # but for the last point, kept wherever it is
            # at 0.01, Adam's steps are at most 0.045 long, and up to step 400 each fourth may do
            assert gaps.max() < 0.03 + 4 * 0.045
            assert (np.diff(steps)[:-1] >= steps[1:-1] / 100).all()


def test_runs_are_long_enough_for_all_arms_to_settle():
    """At rate 0.01 and p = 0.1 it takes 9,000 steps; with 2,000, half of the starts were left."""
    config = configure("experiment=toy", "scale=paper", runs_dir="x")
    assert config["epochs"] * config["data"]["steps"] >= 9_000


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
        patch.setattr("experiments.signals.Interruption.check", interrupt)
        with pytest.raises(Interrupted):
            make("experiment=toy", "lrd.enabled=true")
    (cut,) = read_runs(tmp_path, scale="smoke").runs
    assert (cut.status, cut.epochs) == ("failed", 0)
    status, folder = make("experiment=toy", "lrd.enabled=true")
    assert status == "done"
    for name in ("metrics.csv", "paths.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_goes_on_from_its_checkpoint_with_its_whole_path(interrupted_at, tmp_path):
    words = ["experiment=toy", "lrd.enabled=true", "checkpoint_minutes=1e-9"]
    _, whole = interrupted_at(None, *words, where=tmp_path / "whole")
    interrupted_at(30, *words, where=tmp_path / "cut")  # in the second of two epochs
    _, folder = interrupted_at(None, *words, where=tmp_path / "cut")
    for name in ("metrics.csv", "paths.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("key", ["data.steps", "model.side"])
@pytest.mark.parametrize("number", ["0", "many", "1.5", "true"])
def test_a_number_that_makes_no_sense_is_refused(tmp_path, key, number):
    config = configure("experiment=toy", f"{key}={number}", runs_dir=tmp_path / "runs")
    with pytest.raises(ConfigError, match=f"{key} must be a positive integer, got"):
        run(config)
    assert not (tmp_path / "runs").exists()


def test_a_function_without_a_bottom_ends_as_diverged(make):
    status, folder = make("experiment=toy", "optimizer=sgdm", "optimizer.lr=1.0")
    assert status == "diverged"
    (read,) = read_runs(folder.parents[3], scale="smoke").runs
    assert faults(read) == []
