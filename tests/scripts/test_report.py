"""The report: what stands in it, where its numbers come from, and how its page opens."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from helpers.claims import HEAD
from helpers.commands import ROOT
from helpers.synthetic import make_run
from scripts.catalogue import ITEMS
from scripts.gather import ResultError
from scripts.report import __main__ as command
from scripts.report import results as reading
from scripts.report.page import page
from scripts.report.results import read_results
from scripts.report.text import report
from scripts.verdicts.claims import read_claims
from scripts.verdicts.text import files

RESULTS = ROOT / "results"


@pytest.fixture
def results(tmp_path) -> Path:
    """A results folder with MNIST's Adam, two seeds of each arm."""
    for seed in range(2):
        make_run(tmp_path / "runs", "adam", seed, [90.0, 98.0 + seed])
        make_run(tmp_path / "runs", "adam+lrd0.5", seed, [91.0, 98.5 + 1.2 * seed])
    return tmp_path


@pytest.fixture(scope="module")
def committed() -> str:
    """The report of the committed runs, made anew."""
    return report(read_results(RESULTS))


def cells(text: str, start: str) -> list[str]:
    """The cells of the first table row that starts so."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_claim_shows_its_verdict_scale_seeds_and_interval(results):
    row = cells(report(read_results(results)), "LRD improves Adam's test accuracy on MNIST")
    assert row[1:5] == ["Table 1", "not comparable (here: undecided)", "paper", "2"]
    assert row[5] == "+0.60 points"  # two seeds have no interval that stays valid
    assert row[6] == "+0.60 [-0.67, +1.87]"  # 0.5 and 0.7: ± 12.706 · 0.1
    assert row[7:] == ["+0.27", "±0.1"]


def test_the_contents_are_a_line_for_each_heading(results):
    text = report(read_results(results))
    contents = text.partition("## Contents")[2].partition("\n## ")[0].split("\n")
    links = [line for line in contents if line.strip()]
    assert all(re.fullmatch(r"(  )?- \[[^]]+\]\(#[^)]+\)", line) for line in links)
    assert len(links) == len(re.findall("^###? ", text, re.MULTILINE)) - 1


def test_a_run_made_outside_git_shows_no_commit(results):
    text = report(read_results(results))
    assert cells(text, "[adam, seed 0](runs/paper/mnist/adam/seed0)")[5] == "–"


def test_a_deleted_run_shows_as_not_run_with_its_command(results):
    shutil.rmtree(results / "runs" / "paper" / "mnist" / "adam+lrd0.5")
    text = report(read_results(results))
    row = cells(text, "LRD improves Adam's test accuracy on MNIST")
    command = "`make reproduce-table1 SCALE=paper EXPERIMENT=mnist LAUNCHER=joblib`"
    assert (row[2], row[5]) == ("not run", command)
    missing = cells(text, "table1, mnist")
    assert missing[2] == "28 of 30"
    assert missing[5] == command
    assert "core-hours" in missing[4]


def test_paper_scale_is_preferred_and_lite_is_marked(results):
    for arm in ("adam", "adam+lrd0.5"):
        make_run(results / "runs", arm, 0, [50.0], scale="lite")
        make_run(results / "runs", arm, 0, [40.0], scale="lite", experiment="cifar10")
    text = report(read_results(results))
    assert cells(text, "LRD improves Adam's test accuracy on MNIST")[3] == "paper"
    assert cells(text, "LRD improves Adam's test accuracy on CIFAR-10")[3] == "lite"


@pytest.mark.parametrize("status", ["done", "diverged"])
def test_a_run_at_paper_scale_does_not_hide_what_lite_scale_has(runs, tmp_path, status):
    """Each claim and table is shown where it was run; half run at paper scale, at both."""
    for seed, (base, masked) in enumerate([(40.0, 41.0), (42.0, 43.1), (41.0, 42.2)]):
        make_run(runs, "adam", seed, [base], scale="lite", experiment="cifar10")
        make_run(runs, "adam+lrd0.5", seed, [masked], scale="lite", experiment="cifar10")
    make_run(runs, "sgdm", 0, [95.0], experiment="cifar10", status=status)
    text = report(read_results(tmp_path))
    row = cells(text, "LRD improves Adam's test accuracy on CIFAR-10")
    assert (row[3], row[4]) == ("lite", "3")
    table = text[text.index("### Table 1") : text.index("### Table 2")]
    assert "scale paper" in table
    assert "41.00 ± 1.00 (3)" in table


def test_a_scale_with_only_table_1s_arms_is_left_out_where_another_has_more(tmp_path, monkeypatch):
    arms = ITEMS["figure12"].arms()
    for scale in ("mid", "lite"):
        make_run(tmp_path / "runs", "adam", 0, [50.0], scale=scale, experiment="cifar10")
    assert read_results(tmp_path).scales_of("cifar10", arms) == ["mid", "lite"]
    make_run(tmp_path / "runs", "adam+dg0.5", 0, [50.0], scale="lite", experiment="cifar10")
    results = read_results(tmp_path)
    assert results.scales_of("cifar10", arms) == ["lite"]
    made = []
    monkeypatch.setattr(command, "_write_figures", lambda *of: made.append((of[0].name, of[3])))
    command.make(results, tmp_path)
    assert [scale for name, scale in made if name == "figure12"] == ["lite"]
    assert results.scales_of("cifar10", ITEMS["table1"].arms()) == ["mid", "lite"]


def test_a_claim_half_run_at_paper_scale_is_shown_there_and_where_all_of_it_was_run(tmp_path):
    for arm in ("adam", "adam+dg0.5", "sgdm", "sgdm+dg0.5"):
        for scale in ("lite", "paper")[: 2 if arm.startswith("sgdm") else 1]:
            make_run(tmp_path / "runs", arm, 0, [40.0], scale=scale, experiment="cifar10")
    rows = re.findall(r"\| (Dropout on the gradient does not.*)", report(read_results(tmp_path)))
    assert [row.split(" | ")[3] for row in rows] == ["lite", "paper"]


def test_the_first_lines_end_with_all_that_is_undecided(results):
    last = re.findall(r"^\d+\. (.*)", report(read_results(results)), re.MULTILINE)[-1]
    assert last.startswith("**Nothing is decided** of accuracy on MNIST, scale paper (1 not comp")


def test_the_first_pictures_are_the_mask_beside_the_step_and_best_against_best(runs, results):
    losses = {name: [2.0, 1.8] for name in ("train_loss", "mean_step", "val_loss", "test_loss")}
    for arm in ("rmsprop+best", "rmsprop+magma0.5+best"):
        make_run(runs, arm, 10, [0, 0], scale="lite", experiment="language", columns=losses)
    for arm in ("sgdm+lrd0.5+weight_decay=0.0005", "sgdm+lr0.5+weight_decay=0.0005"):
        make_run(runs, arm, 0, [97.0] * 10)
    command.main(["--results", str(results)])
    text = (results / "REPORT.md").read_text()
    pictures = re.findall(r"^!\[.*\]\((.*)\)", text.partition("\n1. ")[0], re.MULTILINE)
    assert pictures == ["figures/paper/step.png", "figures/lite/best.png"]
    assert all((results / picture).stat().st_size > 10_000 for picture in pictures)


def test_the_summary_counts_every_row_of_the_verdicts(results):
    text = report(read_results(results))
    total = sum(map(int, re.search(r"are (\d+) claims .* And (\d+) questions", text).groups()))
    tables = text[text.index("## Claims, family by family") : text.index("- n: seeds")]
    heads = tables.count("| Claim |")
    assert total == tables.count("\n| ") - 2 * heads  # less the headers and their rules


def test_the_demos_runs_leave_the_report_as_it_is(results):
    before = report(read_results(results))
    make_run(results / "runs", "adam", 0, [95.0], experiment="digits")
    assert report(read_results(results)) == before


def test_smoke_runs_are_no_evidence(tmp_path):
    make_run(tmp_path / "runs", "adam", 0, [50.0], scale="smoke")
    with pytest.raises(ResultError, match="make reproduce-table1"):
        read_results(tmp_path)


def test_runs_of_the_users_own_have_a_section_with_table_and_curves(results):
    before = report(read_results(results))
    assert "own runs" not in before
    for seed in range(2):
        make_run(results / "runs", "adam+lrd0.4", seed, [91.5, 98.7 + seed])
    text = report(read_results(results))
    section = text[text.index("own runs of MNIST") :]
    assert "99.20 ± 0.71 (2)" in section
    assert "98.50 ± 0.71 (2)" in section  # the base beside it
    assert "](figures/paper/own-mnist.png)" in section
    (line,) = [line for line in before.splitlines() if "claims of the paper" in line]
    assert line in text


OWN_CLAIM = """
  family:
    experiment: digits
    source: my question
    stated: 2026-11-20
    statistic: last:test_accuracy
    above: 0
    claims:
      p = 0.4 is better on digits: {pairs: [[adam+lrd0.4, adam]]}
"""


def test_a_claim_on_an_experiment_of_the_users_own(results, monkeypatch):
    """Not run, it has the runner's command; run, it is judged."""
    path = results / "claims.yaml"
    path.write_text(HEAD + OWN_CLAIM)
    monkeypatch.setattr(reading, "read_claims", lambda: read_claims(path))
    row = cells(report(read_results(results)), "p = 0.4 is better on digits")
    assert row[2] == "not run"
    assert row[5] == (
        "`python -m experiments.run -m experiment=digits optimizer=adam lrd.enabled=true "
        "lrd.p=1,0.4 scale=paper seed=0,1,2`"
    )
    for seed, (base, masked) in enumerate([(90.0, 91.0), (90.5, 91.6), (89.0, 90.1), (90, 91)]):
        make_run(results / "runs", "adam", seed, [base], experiment="digits")
        make_run(results / "runs", "adam+lrd0.4", seed, [masked], experiment="digits")
    text = report(read_results(results))
    assert cells(text, "p = 0.4 is better on digits")[2:5] == ["supported", "paper", "4"]
    assert "90.92 ± 0.62 (4)" in text[text.index("own runs of") :]


def test_a_damaged_run_is_left_out_by_name_with_the_reason(results):
    folder = results / "runs" / "paper" / "mnist" / "adam" / "seed1"
    (folder / "metrics.csv").write_text("epoch\n1\n")
    text = report(read_results(results))
    section = text[text.index("\n## Left out\n") : text.index("\n## Speed\n")]
    assert "- paper/mnist/adam/seed1: a file is not as the run left it (digest" in section
    assert cells(text, "LRD improves Adam's test accuracy on MNIST")[4] == "1"


def test_what_a_run_folder_says_of_its_machine_is_text(results, monkeypatch):
    monkeypatch.setattr("experiments.record.reader.faults", lambda run: [])  # the digest's
    record = results / "runs" / "paper" / "mnist" / "adam" / "seed1" / "run.json"
    evil = "<script>alert(1)</script> | ![x](http://evil/x.png)"
    record.write_text(record.read_text().replace("Some CPU", evil))
    html = page(report(read_results(results)), results)
    assert html.count("<td>&lt;script&gt;alert(1)&lt;/script&gt; | ![x](http://evil/x.png), 1") == 1
    assert not re.search("<script|<img [^>]*evil", html)


def test_a_run_on_a_gpu_shows_the_gpu(tmp_path):
    make_run(tmp_path / "runs", "adam", 0, [98.0], device="NVIDIA H100")
    text = report(read_results(tmp_path))
    assert "finished runs (1 at paper scale) on NVIDIA H100." in text
    assert "| NVIDIA H100, 1 thread |" in text


def test_the_command_makes_all_and_counts_what_it_leaves_out(results, capsys):
    stale = results / "tables" / "paper" / "table1.md"
    stale.parent.mkdir(parents=True)
    stale.write_text("stale")
    make_run(results / "runs", "adam", 0, [95.0], experiment="digits")
    command.main(["--results", str(results)])
    assert "left out, as the demo's: 1 runs" in capsys.readouterr().out
    assert "98.50 ± 0.71 (2)" in stale.read_text()
    assert (results / "figures" / "paper" / "figure5.png").read_bytes().startswith(b"\x89PNG")
    assert "undecided" in (results / "tables" / "paper" / "verdicts.md").read_text()
    assert "data:image/webp;base64," in (results / "report.html").read_text()
    assert not list(results.glob(".report-*"))


@pytest.mark.parametrize("broken", ["write_verdicts", "page"])
def test_an_error_leaves_the_old_files_whole(results, monkeypatch, capsys, broken):
    kept = [results / "tables" / "paper" / "table1.md", results / "REPORT.md"]
    kept[0].parent.mkdir(parents=True)
    for path in kept:
        path.write_text("old")

    def fail(*_):
        raise ResultError("it cannot be made")

    monkeypatch.setattr(command, "write_figures_of", fail)  # which is no reason to end
    monkeypatch.setattr(command, broken, fail)
    with pytest.raises(SystemExit, match="error: it cannot be made"):
        command.main(["--results", str(results)])
    assert [path.read_text() for path in kept] == ["old", "old"]
    assert sorted(path.name for path in results.iterdir()) == ["REPORT.md", "runs", "tables"]
    assert "no figure of table1 at scale paper: it cannot be made" in capsys.readouterr().err


@pytest.mark.slow
def test_the_committed_report_is_what_the_committed_runs_give(committed):
    assert (RESULTS / "REPORT.md").read_text() == committed


@pytest.mark.slow
def test_the_committed_verdicts_are_what_the_committed_runs_give():
    read = read_results(RESULTS)
    for scale, judged in read.verdicts.items():
        for name, text in files(judged, scale, read.claims).items():
            assert (RESULTS / "tables" / scale / name).read_text() == text, name


@pytest.mark.slow
def test_numbers_trace_to_the_run_folders_that_the_report_links(committed):
    """A table's mean, a verdict's difference and a share of the toy, worked out by hand."""
    links = dict(re.findall(r"\[(\S+, seed \d+)\]\((runs/paper/\S+)\)", committed))

    def last(arm: str, column: str) -> list[float]:
        paths = [links[name] for name in sorted(links) if name.startswith(f"{arm}, seed")]
        return [pd.read_csv(RESULTS / path / "metrics.csv")[column].iloc[-1] for path in paths]

    base, masked = last("amsgrad", "test_accuracy"), last("amsgrad+lrd0.5", "test_accuracy")
    table = cells(committed, "MNIST, FCNet | last epoch | base")
    assert table[6].startswith(f"{sum(base) / len(base):.2f} ")
    row = cells(committed, "LRD improves AMSGrad's test accuracy on MNIST †")
    assert row[4] == str(len(base))
    difference = sum(masked) / len(masked) - sum(base) / len(base)
    assert row[5].startswith(f"{difference:+.2f}")
    shares = last("adam+lrd0.5+lr=0.1", "global_share")
    toy = committed[committed.index("| learning rate 0.1 |") :]
    assert f"{100 * sum(shares) / len(shares):.1f} ±" in cells(toy, " | 0.5")[3]
