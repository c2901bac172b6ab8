"""Runs that are not as most are, with which tables, figures and verdicts have to live."""

import csv

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from experiments.configuration import ConfigError
from experiments.identity import arm_name
from experiments.record.reader import read_runs
from experiments.validate import check, resolve
from helpers.claims import ONE, STEADY, family, make_pairs
from helpers.synthetic import make_run, read_experiment
from scripts.catalogue import ITEMS
from scripts.figures import __main__ as figures
from scripts.figures.__main__ import make_figures
from scripts.figures.style import STYLE
from scripts.figures.toy import draw_basins
from scripts.gather import ResultError
from scripts.item import RATES
from scripts.plan import configurations
from scripts.report import __main__ as report_command
from scripts.report.missing import own_words
from scripts.tables import __main__ as tables
from scripts.verdicts import __main__ as command
from scripts.verdicts import share
from scripts.verdicts.judge import judge
from scripts.verdicts.text import files
from tests.scripts.test_rates import add, make_grid


def test_a_seed_may_have_more_rates_than_another(runs, claims):
    text = """
      Wider: {statistic: "octaves:rate", pairs: [[rmsprop+cautious, rmsprop]]}"""
    for arm in ("rmsprop", "rmsprop+cautious"):
        make_grid(runs, arm, [2, 1.5, 1, 1, 1, 1, 2], range(4), rates=RATES)
    add(runs, "rmsprop+cautious+lr=0.064", 0, 2.5)
    read = claims(family(text, "language"))
    found = files(judge(read, read_runs(runs, scale="paper")), "paper", read)["pairs.csv"]
    (row,) = csv.DictReader(found.splitlines())
    assert (row["n"], len(row["runs"].split())) == ("4", 4 * 14 + 1)


@pytest.mark.parametrize(
    ("differences", "direction"),
    [
        ([1, 2, 3], "points for"),
        ([0, 1, 2], "points nowhere"),
        ([-1, 1, 2], "points nowhere"),
        ([0, -1, -2], "points nowhere"),
        ([-1, -2, -3], "points against"),
    ],
)
def test_a_direction_is_that_of_all_seeds_and_a_tie_has_none(
    runs, verdicts_of, differences, direction
):
    for seed, difference in enumerate(differences):
        make_run(runs, "adam", seed, [50.0], scale="lite")
        make_run(runs, "adam+lrd0.5", seed, [50.0 + difference], scale="lite")
    assert verdicts_of(ONE, "lite")[0].verdict == direction


@pytest.mark.parametrize(
    ("signs", "direction"),
    [
        ((1, 1, 1), "points for"),
        ((1, 1, -1), "points nowhere"),
        ((-1, -1, -1), "points against"),
    ],
)
def test_a_claim_of_several_points_against_by_as_many_pairs_as_for(
    runs, verdicts_of, signs, direction
):
    names = "adam", "sgdm", "radam"
    pairs = ", ".join(f"[{name}+lrd0.5, {name}]" for name in names)
    text = family(f"""
      All: {{pairs: [{pairs}]}}""")
    for name, sign in zip(names, signs, strict=True):
        for seed in range(2):
            make_run(runs, name, seed, [50.0], scale="lite")
            make_run(runs, f"{name}+lrd0.5", seed, [50.0 + sign], scale="lite")
    assert verdicts_of(text, "lite")[0].verdict == direction


def test_the_numbers_of_tables_keep_their_digits_however_small(runs, tmp_path):
    make_run(runs, "adam+lr=0.000125", 0, [98.123456] * 12, experiment="mnist_choice")
    tables.main(["choice_adam", "--runs-dir", str(runs), "--out", str(tmp_path)])
    frame = pd.read_csv(tmp_path / "paper/choice_adam.csv")
    assert sorted({*frame["lr"]}) == [0.000125, 0.00025, 0.0005, 0.001, 0.002, 0.004]
    assert frame["validation_mean"].max() == pytest.approx(1.87654)


def test_a_seed_that_diverged_at_the_chosen_rate_is_counted_apart(runs, tmp_path, capsys):
    make_grid(runs, "rmsprop", [2, 1.5, 1, 1.5, 2, 3])
    add(runs, "rmsprop+lr=0.002", 2, np.nan, status="diverged")
    tables.main(["family_rates", "--runs-dir", str(runs), "--out", str(tmp_path)])
    assert "| 0.002 | 1.00 | 1.005 ± 0.007 (2), diverged 1 |" in capsys.readouterr().out


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_drawn_is_said_and_ends_nothing_else(runs, tmp_path, capsys):
    add(runs, "rmsprop", 10, 1.0)  # at a seed that chooses nothing
    with pytest.raises(ResultError, match="at a rate of family_rates chooses"):
        make_figures("family_rates", runs, tmp_path, "paper", None)
    columns = {f"{basin}_share": [0.2, 0.3] for basin in ("global", "local", "outside")}
    make_run(runs, "adam+lr=0.05", 0, [0, 0], experiment="toy", columns=columns)
    for rate, last in (("", 0.3), ("+lr=0.1", 1.0)):  # panels share an axis, which holds both
        columns["global_share"] = [0.2, last]
        make_run(runs, f"adam{rate}", 1, [0, 0], experiment="toy", columns=columns)
    arms = ITEMS["figure4"].arms()
    with mpl.rc_context(STYLE):
        basins = draw_basins(read_experiment(runs, "paper", "toy", arms), "paper")
    assert basins.axes[0].get_ylim()[1] > 100
    assert [path.name for path in make_figures("figure4", runs, tmp_path, "paper", None)] == [
        "figure4-basins.png",
        "figure4-basins.pdf",
    ]
    assert "no seed has both" in capsys.readouterr().err


def test_without_a_finished_run_no_verdict_is_written(runs, tmp_path):
    make_run(runs, "adam", 0, [98.0], status="running")
    with pytest.raises(SystemExit, match=r"no finished run in .* at scale paper: nothing"):
        command.main(["--runs-dir", str(runs), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "known"),
    [("figure1", "none"), ("figure4", "toy"), ("figure8", "pspnet"), ("choice_sgdm", "mnist_choi")],
)
def test_what_is_of_one_experiment_alone_is_made_of_no_other(runs, tmp_path, name, known):
    for make in (make_figures, tables.make_table):
        with pytest.raises(ResultError, match=f"made of experiment {known}.* alone, got cifar10"):
            make(name, runs, tmp_path, "paper", "cifar10")


@pytest.mark.usefixtures("unchecked")
def test_a_base_run_without_its_clean_accuracy_keeps_no_claim_from_a_verdict(runs, verdicts_of):
    columns = {name: [50.0] * 10 for name in ("train_accuracy", "test_loss")}
    columns |= {"train_loss": list(range(10, 0, -1)), "clean_accuracy": [99.0] * 10}
    for seed in range(5):
        some = {k: v for k, v in columns.items() if seed < 4 or k != "clean_accuracy"}
        for arm, last in (("adam", 80.0), ("adam+lrd0.5", 82.0 + STEADY[seed])):
            make_run(runs, arm, seed, [0.0] * 10, scale="lite",
                     columns={**some, "test_accuracy": [last] * 10})  # fmt: skip
    (judged,) = verdicts_of(ONE, "mid")
    assert (judged.verdict[:9], judged.tested[0].result.n) == ("supported", 5)


def test_who_never_gets_there_counts_one_epoch_more(runs):
    for seed, base in enumerate([90.0, 100.0, 100.0, 100.0]):
        for arm, last in (("sgdm", base), ("sgdm+lrd0.5", 100.0), ("sgdm+lr0.5", 100.0)):
            make_run(runs, arm, seed, [50.0, last])
    rows = share.rows_of(read_runs(runs, scale="paper"), "paper")
    (row,) = [row for row in rows if row["statistic"].startswith("epochs to")]
    assert (row["n"], row["base"]) == (4, (3 + 2 + 2 + 2) / 4)


@pytest.mark.parametrize("p", ["0.5", "0.3"])
def test_the_command_of_a_claim_without_a_sweep_makes_all_its_arms(claims, p):
    (claim,) = claims(ONE.replace("lrd0.5", f"lrd{p}")).claims
    configs = configurations(None, [*own_words(claim), "scale=smoke"])
    for config in configs:
        try:
            check(resolve(config))
        except ConfigError as error:
            pytest.fail(str(error))
    assert {arm_name(config) for config in configs} == {"adam", f"adam+lrd{p}"}


def test_latex_of_shares_and_ranges_is_ascii_too(runs, tmp_path):
    for seed, step in enumerate(STEADY[:4]):
        for arm, last in (("", 98.0), ("+lrd0.5", 99.0 + step), ("+lr0.5", 98.8 + step / 2)):
            make_run(runs, f"sgdm{arm}", seed, [50.0, last])
    make_grid(runs, "rmsprop", [1, 1, 1, 1, 1, 1])
    command.main(["--runs-dir", str(runs), "--out", str(tmp_path)])
    tables.main(["family_rates", "--runs-dir", str(runs), "--out", str(tmp_path / "tables")])
    for name, sign in (("share", "$-$"), ("family_rates", r"$\geq$")):
        text = (tmp_path / "tables/paper" / f"{name}.tex").read_text()
        assert text.isascii()
        assert sign in text


def test_a_picture_that_is_not_made_now_is_not_shown_though_an_old_one_is_there(
    runs, tmp_path, monkeypatch
):
    make_pairs(runs, STEADY)
    results = tmp_path
    old = results / "figures/paper/figure5.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")

    def fail(item, *_):
        raise ResultError("it cannot be made")

    monkeypatch.setattr(report_command, "write_figures_of", fail)
    report_command.main(["--results", str(results)])
    text = (results / "REPORT.md").read_text()
    assert "figure5.png" not in text
    assert "*Figure 5, MNIST, FCNet, scale paper: could not be drawn*" in text
    assert "](figures/paper/forest/accuracy-on-mnist.png)" in text


@pytest.mark.parametrize("drawn", [True, False])
def test_words_of_the_users_own_claims_are_shown_as_they_are(
    runs, claims, tmp_path, monkeypatch, drawn
):
    """Of a claim and its family, in the table, in the first lines and below the picture."""
    text = "LRD raises |x| [ours]"
    claim = f"""
      "{text}": {{pairs: [[adam+lrd0.5, adam]]}}"""
    read = claims(family(claim, name="'of <all> [ours]'"))
    monkeypatch.setattr("scripts.report.results.read_claims", lambda: read)
    if not drawn:
        monkeypatch.setattr("scripts.figures.style.save", lambda *_: [])
    make_pairs(runs, [1 + step for step in STEADY])
    report_command.main(["--results", str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert f"<td>{text}</td>" in page
    assert f"<em>supported</em>: {text} (+1.00" in page
    caption = "Of &lt;all&gt; [ours], scale paper: the intervals of the differences"
    assert (f"<figcaption>{caption}</figcaption>" in page) == drawn
    assert (f"<em>{caption}: could not be drawn</em>" in page) != drawn


def test_the_command_that_is_advised_is_one_that_the_runner_takes(tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"\+sweep=choice_best .* seed=10,11,"):
        tables.main(["choice_best", "--runs-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        figures.main(["choice_best", "--runs-dir", str(tmp_path)])
    assert stop.value.code == 2
    assert "invalid choice: 'choice_best'" in capsys.readouterr().err  # it has no figure
