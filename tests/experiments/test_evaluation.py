"""Runs that are evaluated after some of their epochs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.configuration import ConfigError
from experiments.record.checkpoint import CheckpointError
from experiments.record.faults import faults
from experiments.record.reader import read_run, read_runs
from experiments.tasks import classification
from experiments.validate import check
from helpers.commands import configure, rows
from helpers.synthetic import sign
from scripts.figures.style import canvas, draw_curve
from scripts.gather import Arm
from scripts.tables.cells import values
from scripts.verdicts.compare import collapsed


def test_epochs_between_evaluations_have_empty_cells_and_change_nothing_else(make, tmp_path):
    few = ("epochs=8", "evaluate_every=3")
    _, plain = make("epochs=8")
    _, folder = make(*few)
    assert folder.parent.name == "adam+epochs=8+evaluate_every=3"
    every, seldom = rows(plain), rows(folder)
    for number, (before, after) in enumerate(zip(every, seldom, strict=True), 1):
        empty = {"test_loss", "test_accuracy"} if number in (1, 2, 4, 5, 7) else set()
        assert {name for name, cell in after.items() if not cell} == empty
        assert {name: cell for name, cell in after.items() if cell} == {
            name: cell for name, cell in before.items() if name not in empty
        }
    (run,) = [r for r in read_runs(tmp_path, scale="smoke").runs if "evaluate_every" in r.arm]
    assert np.isnan(run.metrics["test_loss"]).sum() == 5
    arm = Arm([run])
    column = classification.COLUMNS["test_accuracy"]
    seen = [float(row["test_accuracy"]) for row in seldom if row["test_accuracy"]]
    assert values(arm, "test_accuracy", column, "best") == [max(seen)]
    figure = canvas(2)
    axes = figure.subplots()
    draw_curve(axes, arm.curves("test_accuracy"), {"color": "black"})
    assert axes.lines[0].get_xydata().tolist() == [[3, seen[0]], [6, seen[1]], [8, seen[2]]]
    with pytest.raises(ConfigError, match="evaluate_every must be a positive integer, got 0"):
        check(configure("evaluate_every=0", runs_dir="x"))


@pytest.mark.parametrize(
    ("epochs", "column", "cell"),
    [((3,), "test_loss", ""), ((2,), "test_loss", "inf"), ((5,), "test_loss", "98.0"),
     ((1, 2, 4, 5, 7), "lr", "")],
)  # fmt: skip
def test_an_empty_cell_stands_only_where_nothing_was_evaluated(make, epochs, column, cell):
    _, folder = make("epochs=8", "evaluate_every=3")
    table = pd.read_csv(folder / "metrics.csv", dtype=str, keep_default_na=False)
    table.loc[[epoch - 1 for epoch in epochs], column] = cell
    table.to_csv(folder / "metrics.csv", index=False)
    sign(folder)
    assert faults(read_run(folder)) == [f"metrics.csv: {column} is not finite"]


@pytest.mark.parametrize("every", ["null", "x", "[1]", "0", "1.5"])
def test_a_record_with_another_evaluate_every_is_left_out_by_name(make, tmp_path, every):
    _, folder = make("epochs=3")
    text = (folder / "config.yaml").read_text()
    assert "evaluate_every: 1" in text
    given = text.replace("evaluate_every: 1", f"evaluate_every: {every}")
    (folder / "config.yaml").write_text(given)
    sign(folder)
    (left_out,) = read_runs(tmp_path, scale="smoke").left_out
    assert "evaluate_every must be a positive integer" in left_out.reason


def test_the_mean_of_the_last_ten_epochs_is_of_ten(make):
    _, folder = make("epochs=12", "evaluate_every=5")
    arm = Arm([read_run(folder)])
    assert values(arm, "test_accuracy", classification.COLUMNS["test_accuracy"], "last10") == []
    assert len(values(arm, "train_accuracy", classification.COLUMNS["train_accuracy"], "last10"))


@pytest.mark.parametrize(("losses", "rises"), [((2, 1), False), ((1, 2), True)])
def test_a_collapse_is_seen_in_the_epochs_that_were_evaluated(make, losses, rises):
    run = read_run(make("epochs=3")[1])
    metrics = {"train_loss": np.array([np.nan, *losses])}
    assert collapsed(Arm([replace(run, metrics=metrics)])) is rises


@pytest.mark.parametrize(("begun", "asked"), [(0, 50), (50, 0)])
def test_a_run_does_not_go_on_with_another_number_of_clean_images(
    interrupted_at, tmp_path, begun, asked
):
    """Its rows would not have the same columns."""
    interrupted_at(2, f"clean_train={begun}", where=tmp_path)
    with pytest.raises(CheckpointError, match=f"clean_train: {begun} -> {asked}"):
        interrupted_at(None, f"clean_train={asked}", where=tmp_path)
