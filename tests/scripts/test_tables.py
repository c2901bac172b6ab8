"""Tables, from synthetic run folders."""

import shutil

import numpy as np
import pandas as pd
import pytest

from helpers.commands import ROOT
from helpers.synthetic import DATA, make_run, read_experiment
from scripts.catalogue import ITEMS
from scripts.figures import __main__ as figures
from scripts.gather import published
from scripts.tables import __main__ as tables

TABLES = [name for name, item in ITEMS.items() if item.caption and item.layout == "optimizers"]


@pytest.fixture
def make_table(runs, tmp_path, capsys):
    """Call the command; gives the tidy csv, indexed by (experiment, arm), and what was printed."""

    def make(scale="paper", experiment=None, name="table1"):
        arguments = ["table1", "--scale", scale, "--runs-dir", str(runs)]
        arguments += ["--out", str(tmp_path / "tables")]
        tables.main(arguments + (["--experiment", experiment] if experiment else []))
        frame = pd.read_csv(tmp_path / "tables" / scale / f"{name}.csv")
        return frame.set_index(["experiment", "arm"]), capsys.readouterr().out

    return make


def row(markdown: str, label: str, method: str, title: str = "MNIST, FCNet") -> list[str]:
    """The five cells of a Markdown row, found by its data, label and method."""
    data = epoch = ""
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 8:
            continue
        data, epoch = cells[0] or data, cells[1] or epoch
        if (data, epoch, cells[2]) == (title, label, method):
            return cells[3:]
    raise AssertionError(f"no row {title}, {label}, {method} in\n{markdown}")


def test_cell_is_mean_and_sample_deviation_of_the_last_epoch(runs, make_table):
    for seed, last in enumerate((97.0, 98.0, 99.0)):
        make_run(runs, "adam", seed, [99.9, last])
    make_run(runs, "adam+lrd0.5", 0, [90.0, 98.5])
    frame, text = make_table()
    assert row(text, "last epoch", "base")[2] == "98.00 ± 1.00 (3)"
    assert row(text, "last epoch", "LRD")[2] == "98.50 (1)"
    base = frame.loc[("mnist", "adam")]
    assert (
        row(text, "test loss (nats), last", "base")[2] == f"{base.test_loss_mean:.3f} ± 0.000 (3)"
    )
    assert (base["n"], base["last_mean"], base["last_std"]) == (3, 98.0, 1.0)
    assert (base["seeds"], base["epochs"], base["method"]) == ("0 1 2", 2, "base")
    assert np.isnan(frame.loc[("mnist", "adam+lrd0.5"), "last_std"])


def test_best_epoch_stands_apart_and_says_how_it_was_chosen(runs, make_table):
    make_run(runs, "adam", 0, [99.0, 97.0])
    make_run(runs, "adam", 1, [96.0, 98.0])
    frame, text = make_table()
    assert frame.loc[("mnist", "adam"), "best_mean"] == 98.5
    assert row(text, r"best epoch\*", "base")[2] == "98.50 ± 0.71 (2)"
    assert row(text, "last epoch", "base")[2] == "97.50 ± 0.71 (2)"
    assert "chosen on the test set" in text


def test_mean_of_the_last_ten_epochs_needs_ten(runs, make_table):
    make_run(runs, "adam", 0, [50.0, 60.0, *range(81, 91)])
    frame, text = make_table()
    assert frame.loc[("mnist", "adam"), "last10_mean"] == 85.5
    shutil.rmtree(runs)
    make_run(runs, "adam", 0, [80.0] * 9)
    frame, text = make_table()
    assert np.isnan(frame.loc[("mnist", "adam"), "last10_mean"])
    assert "mean of last 10" not in text


def test_arms_that_were_not_run_are_dashes(runs, make_table):
    make_run(runs, "adam", 0, [98.0])
    frame, text = make_table()
    assert row(text, "last epoch", "base") == ["–", "–", "98.00 (1)", "–", "–"]
    assert row(text, "last epoch", "LRD") == ["–"] * 5
    assert row(text, "last epoch", "base", "CIFAR-10, ResNet-34") == ["–"] * 5
    assert (len(frame), frame["n"].sum()) == (30, 1)


def test_diverged_runs_are_shown_and_not_averaged(runs, make_table):
    make_run(runs, "adam", 0, [97.0, 98.0])
    make_run(runs, "adam", 1, [96.0, 97.0])
    make_run(runs, "adam", 2, [10.0], status="diverged", epochs=2)
    make_run(runs, "radam", 0, [10.0], status="diverged", epochs=2)
    frame, text = make_table()
    assert row(text, "last epoch", "base")[2] == "97.50 ± 0.71 (2), diverged 1/3"
    assert row(text, "last epoch", "base")[4] == "diverged 1/1"
    assert row(text, r"best epoch\*", "base")[2:] == ["97.50 ± 0.71 (2)", "–", "–"]
    assert frame.loc[("mnist", "adam"), "diverged"] == 1
    assert "mnist/radam/seed0 (diverged)" in text


@pytest.mark.parametrize("status", ["running", "failed"])
def test_unfinished_runs_are_listed_and_not_counted(runs, make_table, status):
    make_run(runs, "adam", 0, [97.0, 98.0])
    make_run(runs, "adam", 1, [10.0], status=status, epochs=2)
    _, text = make_table()
    assert row(text, "last epoch", "base")[2] == "98.00 (1)"
    assert f"mnist/adam/seed1 ({status})" in text


def test_runs_on_other_data_than_most_are_left_out_by_name(runs, make_table):
    for seed in range(2):
        make_run(runs, "adam", seed, [98.0])
    make_run(runs, "adam+lrd0.5", 0, [50.0], source=DATA | {"format": "png"})
    frame, text = make_table()
    assert (frame.loc[("mnist", "adam"), "n"], frame.loc[("mnist", "adam+lrd0.5"), "n"]) == (2, 0)
    assert "Left out: mnist/adam+lrd0.5/seed0: made with other data" in text
    assert "(format in run.json)" in text


def test_arms_of_a_seed_on_cpu_and_gpu_are_no_pair(runs):
    arms = ["adam", "adam+lrd0.5"]
    for seed, devices in enumerate([("cpu", "cpu"), ("NVIDIA H100", "cpu"), ("NVIDIA H100",) * 2]):
        for arm, device in zip(arms, devices, strict=True):
            make_run(runs, arm, seed, [98.0], device=device)
    experiment = read_experiment(runs, "paper", "mnist", arms)
    seeds = {name: [run.seed for run in experiment[name].done] for name in arms}
    assert seeds == {"adam": [0, 2], "adam+lrd0.5": [0, 1, 2]}
    (odd,) = experiment.left_out
    assert "made on a GPU, other arms of its seed were not" in odd.reason


def test_data_that_the_arms_name_explains_are_no_reason_to_leave_a_run_out(runs):
    arms = ["adam", "adam+standardised=false"]
    make_run(runs, arms[0], 0, [98.0])
    make_run(runs, arms[1], 0, [98.0], source=DATA | {"train": 100})
    experiment = read_experiment(runs, "paper", "mnist", arms)
    assert (len(experiment.runs), experiment.left_out) == (2, [])


def test_a_damaged_run_is_left_out_by_name_of_its_own_tables_only(runs, make_table):
    make_run(runs, "adam", 0, [98.0])
    (make_run(runs, "sgdm", 0, [98.0]) / "metrics.csv").write_text("epoch")
    (make_run(runs, "sgdm", 0, [98.0], experiment="cifar10") / "metrics.csv").write_text("epoch")
    frame, text = make_table()
    assert frame["n"].sum() == 1
    assert "Left out: mnist/sgdm/seed0: a file is not as the run left it" in text
    assert "cifar10/sgdm/seed0: a file is not" in text
    experiment = read_experiment(runs, "paper", "mnist", ["adam"])
    assert (len(experiment.runs), experiment.left_out) == (1, [])


def test_arms_in_no_table_are_named_with_the_command_that_shows_them(runs, make_table):
    make_run(runs, "adam", 0, [98.0])
    assert "in no table" not in make_table()[1]
    make_run(runs, "adam+lrd0.3", 0, [98.0])
    _, text = make_table()
    assert "Arms of MNIST, FCNet that are in no table: adam+lrd0.3" in text
    assert "python -m scripts.tables own --experiment mnist --scale paper" in text


def test_a_finished_run_that_lacks_epochs_is_left_out(runs):
    make_run(runs, "adam", 0, [97.0, 98.0], epochs=3)
    make_run(runs, "adam", 1, [97.0, 98.0])
    assert [run.seed for run in read_experiment(runs, "paper", "mnist", ["adam"]).runs] == [1]


def test_scales_are_never_mixed(runs, make_table, tmp_path):
    make_run(runs, "adam", 0, [98.0])
    make_run(runs, "adam", 1, [50.0], scale="smoke")
    for scale, value in (("paper", 98.0), ("smoke", 50.0)):
        frame, text = make_table(scale)
        adam = frame.loc[("mnist", "adam")]
        assert (adam["n"], adam["last_mean"], adam["scale"]) == (1, value, scale)
        assert f"scale {scale}" in text
        assert f"scale {scale}" in (tmp_path / "tables" / scale / "table1.tex").read_text()


def test_digits_have_a_table_of_their_own(runs, make_table, tmp_path):
    make_run(runs, "adam", 0, [90.0], experiment="digits")
    frame, text = make_table(experiment="digits", name="table1-digits")
    assert set(frame.index.get_level_values("experiment")) == {"digits"}
    assert frame["published"].isna().all()
    assert "published" not in text
    assert [path.stem for path in (tmp_path / "tables/paper").iterdir()] == ["table1-digits"] * 3


def test_narrowed_table_prints_one_experiment_and_keeps_the_others_in_its_files(
    runs, make_table, tmp_path
):
    make_run(runs, "adam", 0, [98.0])
    make_run(runs, "adam", 0, [91.0], experiment="cifar10")
    frame, text = make_table(experiment="mnist")
    assert "CIFAR-10" not in text
    assert frame.loc[("cifar10", "adam"), "last_mean"] == 91.0
    assert "91.00 (1)" in (tmp_path / "tables/paper/table1.md").read_text()


def test_conditions_of_the_runs_are_named(runs, make_table):
    make_run(runs, "adam", 0, [98.0, 98.0])
    _, text = make_table()
    assert "net: hidden 1000; 2 epochs, batch size 128, fp32; seeds: 0; data: MNIST (idx), " in text
    assert "device: cpu (Some CPU), threads: 1, torch 2.14.1" in text


def test_published_numbers_stand_beside(runs, make_table):
    make_run(runs, "adam", 0, [98.0])
    frame, text = make_table()
    assert row(text, "published", "base") == ["97.82", "98.06", "97.88", "97.88", "97.97"]
    assert row(text, "published", "LRD") == ["98.21", "98.40", "98.15", "98.51", "98.21"]
    assert frame.loc[("cifar100", "rmsprop+lrd0.5"), "published"] == 74.02
    assert frame["published"].notna().all()


def test_published_tables_agree_where_they_show_the_same_arm():
    seen: dict[tuple[str, str, str], float] = {}
    for item, rows in (("table1", 30), ("table2", 12), ("table3", 14), ("table4", 5)):
        frame = published(item)
        assert len(frame) == rows
        for experiment, arm, metric, value in frame.itertuples(index=False):
            assert seen.setdefault((experiment, arm, metric), value) == value
    assert len(seen) == 30 + 8 + 10 + 3  # Table 2's other p, Table 3's regularizers, Table 4's p_sd
    curve = pd.read_csv(ROOT / "results/paper/authors_curve.csv")["test_accuracy"]
    assert (len(curve), curve.iloc[-1], curve.max()) == (200, 95.57, 95.67)


def test_no_runs_say_how_to_make_some_and_write_nothing(runs, tmp_path, capsys):
    make_run(runs, "adam", 0, [10.0], experiment="cifar10")
    make_run(runs, "adam", 0, [10.0], status="running")
    arguments = ["--runs-dir", str(runs), "--out", str(tmp_path / "out"), "--experiment", "mnist"]
    for command in (tables.main, figures.main):
        name = "table1" if command is tables.main else "figure5"
        with pytest.raises(SystemExit) as stop:
            command([name, *arguments])
        assert "no finished run of mnist at scale paper" in stop.value.code
        assert "experiment=mnist scale=paper seed=0" in stop.value.code
        assert "unfinished: mnist/adam/seed0 (running)" in stop.value.code
    assert not (tmp_path / "out").exists()


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    for seed in range(2):
        make_run(runs, "adam", seed, [97.0 + seed, 98.0])
    for out in ("first", "second"):
        tables.make_table("table1", runs, tmp_path / out, "paper", None)
        figures.main(["figure5", "--runs-dir", str(runs), "--out", str(tmp_path / out)])
    first = {path.name: path.read_bytes() for path in (tmp_path / "first/paper").iterdir()}
    second = {path.name: path.read_bytes() for path in (tmp_path / "second/paper").iterdir()}
    assert first == second
    assert sorted(first) == [
        *("figure5.pdf", "figure5.png", "table1.csv", "table1.md", "table1.tex")
    ]
    assert b"CreationDate" not in first["figure5.pdf"]
    assert b"Software" not in first["figure5.png"]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_fills_all_its_cells(runs, tmp_path, name):
    item = ITEMS[name]
    for experiment in item.experiments:
        for arm in item.arms():
            names = ("train_loss", "mean_step", "val_loss", "test_loss")
            columns = dict.fromkeys(names, [50.0] * 10) if experiment == "language" else None
            make_run(runs, arm, 0, [50.0] * 10, experiment=experiment, columns=columns)
    text = tables.make_table(name, runs, tmp_path, "paper", None)
    body = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert not any("–" in line for line in body)
    frame = pd.read_csv(tmp_path / f"paper/{name}.csv")
    assert len(frame) == len(item.arms()) * len(item.experiments)
    assert (frame["n"] == 1).all()
    own = ("controls", "step", "choice_best", "authors", "table1-digits", "family_best")
    of_the_paper = {"settings": 10} | dict.fromkeys(own, 0)
    assert frame["published"].notna().sum() == of_the_paper.get(name, len(frame))


def test_table_and_figure_read_what_the_runner_writes(make, runs, tmp_path):
    for enabled in ("false", "true"):
        make(f"lrd.enabled={enabled}", where=runs)
    text = tables.make_table("table1", runs, tmp_path, "smoke", "digits")
    metrics = pd.read_csv(runs / "smoke/digits/adam+lrd0.5/seed0/metrics.csv")
    last = metrics["test_accuracy"].iloc[-1]
    assert row(text, "last epoch", "LRD", "digits, FCNet")[2] == f"{last:.2f} (1)"
    assert all(
        path.exists() for path in figures.make_figures("figure5", runs, tmp_path, "smoke", "digits")
    )
