"""Arms of the user's own: what shows them without a change to the suite."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from experiments.record.reader import Run, Runs, read_run, read_runs
from helpers.commands import ROOT
from helpers.synthetic import make_run
from helpers.words import assert_no_words_overlap
from scripts import titles, verify
from scripts.catalogue import ITEMS
from scripts.figures import __main__ as figures
from scripts.figures.style import STYLE
from scripts.own import own_arms, own_items
from scripts.tables import __main__ as tables
from scripts.tables.formats import markdown
from scripts.titles import title
from scripts.verdicts import __main__ as verdicts


@pytest.fixture
def third_party(runs) -> Runs:
    """Adam, and an optimizer that the suite does not know, with and without LRD, on digits."""
    arms = {"adam": 90.0, "lion": 91.0, "lion+lrd0.5": 92.0}
    whole = []
    for seed in range(2):
        run = read_run(make_run(runs, "adam", seed, [50.0] * 10, experiment="digits"))
        for arm, accuracy in arms.items():
            metrics = run.metrics | {"test_accuracy": np.full(10, accuracy + seed)}
            whole.append(replace(run, arm=arm, metrics=metrics))
    return Runs(whole, [])


def test_arms_that_an_item_shows_are_none_of_the_users_own(runs):
    for arm in ("adam", "adam+lrd0.5", "adam+lr0.5"):
        make_run(runs, arm, 0, [90.0])
    make_run(runs, "adam+lrd0.5", 0, [90.0], experiment="digits")  # the demo's
    make_run(runs, "adam+lrd0.3", 0, [90.0], status="failed")
    assert own_items(read_runs(runs, scale="paper").runs) == []


def test_an_own_item_has_the_arms_that_none_shows_and_their_base_arms(runs):
    for arm in ("adam", "adam+lrd0.5", "sgdm", "adam+lrd0.3+sd0.9", "rmsprop+ng0.1"):
        make_run(runs, arm, 0, [90.0])
    found = read_runs(runs, scale="paper").runs
    assert own_arms(found) == {"mnist": ["adam+lrd0.3+sd0.9", "rmsprop+ng0.1"]}
    (item,) = own_items(found)
    assert (item.name, item.optimizers) == ("own-mnist", ("rmsprop", "adam"))
    assert item.methods == {"base": "", "lrd0.3+sd0.9": "+lrd0.3+sd0.9", "ng0.1": "+ng0.1"}
    assert {"adam", "rmsprop"} < set(item.arms())


def test_an_optimizer_that_the_suite_does_not_know_has_its_column(third_party):
    (item,) = own_items(third_party.runs)
    table = tables.table_of(item, third_party, "paper")
    assert table.header[3:] == ["lion"]
    assert [row[2:] for row in table.rows[:2]] == [
        ["base", "91.50 ± 0.71 (2)"],
        ["lrd0.5", "92.50 ± 0.71 (2)"],
    ]
    assert table.caption.startswith("Test accuracy in percent of own runs")
    assert not any("in no table" in note for note in table.notes)


def test_own_curves_show_every_column_of_the_task(third_party):
    (item,) = own_items(third_party.runs)
    experiment = tables.experiments_of(item, third_party)
    with mpl.rc_context(STYLE):
        figure = figures.drawn(item, experiment, "paper")["own-digits"]
        assert_no_words_overlap(figure)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == [
        "training loss (nats)",
        "training accuracy (%)",
        "test loss (nats)",
        "test accuracy (%)",
    ]
    assert all(len(axes.lines) == 2 for axes in figure.axes)
    assert figure.axes[0].get_title() == "lion\nn = 2"


def test_the_commands_make_the_own_table_and_figure(runs, tmp_path, capsys):
    make_run(runs, "adam", 0, [90.0, 91.0])
    make_run(runs, "adam+lrd0.3", 0, [90.0, 92.0])
    places = ["--runs-dir", str(runs), "--out", str(tmp_path / "out")]
    for command in (tables.main, figures.main):
        command(["own", "--experiment", "mnist", "--scale", "paper", *places])
    assert "| lrd0.3 | 92.00 (1) |" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out/paper").iterdir()}
    assert names == {f"own-mnist.{kind}" for kind in ("csv", "md", "tex", "png", "pdf")}
    frame = pd.read_csv(tmp_path / "out/paper/own-mnist.csv").set_index("arm")
    assert frame.loc["adam+lrd0.3", "last_mean"] == 92.0
    assert frame["published"].isna().all()


@pytest.mark.parametrize("command", [tables.main, figures.main])
def test_own_says_what_it_needs(runs, tmp_path, command, capsys):
    make_run(runs, "adam", 0, [90.0])
    places = ["--runs-dir", str(runs), "--out", str(tmp_path / "out")]
    with pytest.raises(
        SystemExit, match=r"no finished run of mnist at scale paper .* is of an arm"
    ):
        command(["own", "--experiment", "mnist", *places])
    with pytest.raises(SystemExit):
        command(["own", *places])
    assert "own needs --experiment" in capsys.readouterr().err


@pytest.mark.parametrize("command", [tables.main, figures.main, verdicts.main])
def test_a_folder_that_cannot_be_made_is_said(runs, tmp_path, command):
    make_run(runs, "adam", 0, [90.0])
    make_run(runs, "adam+lrd0.5", 0, [90.0])
    (tmp_path / "file").write_text("")
    item = [] if command is verdicts.main else ["table1", "--experiment", "mnist"]
    with pytest.raises(SystemExit, match=r"error: cannot make the folder .*file"):
        command([*item, "--runs-dir", str(runs), "--out", str(tmp_path / "file")])


def test_curves_of_an_experiment_of_another_task_show_its_columns(tmp_path):
    place = ["--runs-dir", str(ROOT / "results/runs"), "--out", str(tmp_path)]
    figures.main(["table2", "--experiment", "pspnet", "--scale", "lite", *place])
    assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".pdf", ".png"]


def regression(run: Run) -> Run:
    """A run of a task whose result falls."""
    metrics = pd.DataFrame({"epoch": [1, 2], "lr": 0.1, "train_loss": [2, 1.0]})
    metrics["val_error"] = [0.25, 0.5]
    config = {**run.config, "task": "own.task", "data": {"_target_": "own.table", "name": "houses"}}
    info = {**run.info, "data": {"name": "houses", "format": "csv", "train": 100, "test": 20}}
    return replace(run, experiment="houses", config=config, info=info, metrics=metrics)


def test_a_task_of_ones_own_has_its_column_digits_and_best_epoch(runs, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "task.py").write_text(
        "from experiments.tasks import Column\n"
        "COLUMNS = {'train_loss': Column('training loss', falls=True),\n"
        "           'val_error': Column('mean error (%)', digits=4, falls=True)}\n"
        "RESULT = 'val_error'\n"
        "loss = evaluate = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = regression(read_run(make_run(runs, "adam", 0, [90.0, 91.0])))
    found = Runs([run, replace(run, arm="adam+lrd0.5")], [])
    (item,) = own_items(found.runs)
    table = tables.table_of(item, found, "paper")
    assert table.rows[0] == ["houses, FCNet", "last epoch", "base", "0.5000 (1)"]
    assert table.rows[2] == ["", "best epoch*", "base", "0.2500 (1)"]
    assert table.caption.startswith("Mean error in percent of own runs")
    text = markdown(table)
    assert "chosen on the validation set and therefore too low" in text
    assert "data: houses (csv), 100 training and 20 test samples" in text
    figure = figures.drawn(item, tables.experiments_of(item, found), "paper")["own-houses"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert "steep start" not in figure.get_supxlabel()  # a loss's axis leaves out nothing


def test_titles_are_what_net_and_data_declare(runs):
    run = read_run(make_run(runs, "adam", 0, [90.0], experiment="digits"))
    assert title("digits", [run.config]) == "digits, FCNet"  # recorded without names
    cnn = {**run.config, "model": {"_target_": "models.own.small_cnn", "width": 8}}
    assert title("digits", [cnn]) == "digits, small_cnn"
    named = {**cnn, "model": {**cnn["model"], "name": "CNN"}}
    assert title("digits", [named]) == "digits, CNN"
    assert title("digits", [named, run.config]) == "digits, CNN or FCNet"
    assert title("cifar10") == "CIFAR-10, ResNet-34"  # its file's
    assert title("unheard-of") == "unheard-of"


def test_a_file_that_names_a_smaller_net_renames_no_run(runs, tmp_path, monkeypatch):
    run = read_run(make_run(runs, "adam", 0, [90.0]))
    (tmp_path / "model").mkdir()
    for stem, name in (("fcnet", "FCNet"), ("fcnet_small", "small FCNet")):
        text = f"name: {name}\n_target_: models.fcnet.fcnet\n"
        (tmp_path / f"model/{stem}.yaml").write_text(text)
    monkeypatch.setattr(titles, "CONF", tmp_path)
    titles._declared_names.cache_clear()
    try:
        assert titles.name_of({"_target_": run.config["model"]["_target_"]}) == "FCNet"
    finally:
        titles._declared_names.cache_clear()


def test_a_cnn_on_digits_is_not_called_fcnet(runs):
    run = read_run(make_run(runs, "adam", 0, [90.0], experiment="digits"))
    model = {"_target_": "models.own.small_cnn", "name": "CNN"}
    cnn = replace(run, config={**run.config, "model": model})
    table = tables.table_of(ITEMS["table1-digits"], Runs([cnn], []), "paper")
    assert table.rows[0][0] == "digits, CNN"
    assert "net: CNN;" in table.notes[0]


def test_verify_names_what_is_left_out_and_what_the_report_does_not_show(runs, capsys):
    make_run(runs, "adam", 0, [90.0])
    make_run(runs, "adam+lrd0.3", 0, [90.0])
    make_run(runs, "adam", 0, [90.0], experiment="digits")
    verify.main(["--runs-dir", str(runs)])
    assert capsys.readouterr().out.splitlines() == [
        "paper: 3 done",
        "paper: outside the report, as the demo's: 1 of digits",
        "paper: in no item of the paper: adam+lrd0.3 of mnist",
    ]
    make_run(runs, "adam+lrd0.3", 0, [90.0], experiment="digits")  # the report shows its base
    verify.main(["--runs-dir", str(runs)])
    assert "outside the report" not in capsys.readouterr().out
    damaged = make_run(runs, "sgdm", 0, [90.0], scale="lite")
    (damaged / "metrics.csv").write_text("epoch\n")
    with pytest.raises(SystemExit, match="error: 1 left out"):
        verify.main(["--runs-dir", str(runs)])
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{damaged}: a file is not as the run left it")
    assert second == "lite: 1 left out"
