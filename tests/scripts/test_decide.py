"""Seeds are added until claims are decided, or the hours are spent; real runs of digits."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from experiments.identity import arm_name
from experiments.record.machine import environment
from experiments.record.reader import Runs, read_runs
from helpers.claims import HEAD, family
from helpers.commands import ROOT
from helpers.synthetic import make_run
from scripts import decide, plan
from scripts.plan import jobs
from scripts.verdicts.claims import read_claims
from scripts.verdicts.judge import judge

LARGE = """
      Adam is above a coin: {margin: 10, pairs: [[adam, 5]]}"""
NONE = """
      LRD is above itself: {margin: 0, pairs: [[adam+lrd0.5, adam+lrd0.5]]}"""


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Runs the command on claims about digits at smoke; returns what it printed."""

    def run(claims, *words):
        path = tmp_path / "claims.yaml"
        path.write_text(HEAD + family(claims, experiment="digits"))
        monkeypatch.setattr(decide, "read_claims", lambda: read_claims(path))
        decide.main(["--scale", "smoke", "--runs-dir", str(tmp_path / "runs"), *words])
        return capfd.readouterr().out

    run.runs = lambda: read_runs(tmp_path / "runs", scale="smoke").runs
    return run


@pytest.mark.slow
def test_a_large_effect_is_decided_in_few_seeds_and_is_not_run_again(command):
    out = command(LARGE, "--claim", "Adam is above a coin")
    assert out.splitlines()[-1] == "all decided"
    seeds = [run.seed for run in command.runs()]
    assert seeds == [*range(len(seeds))]
    assert 4 <= len(seeds) <= 6
    assert command(LARGE, "--claims", "digits").splitlines()[-1] == "all decided"
    assert len(command.runs()) == len(seeds)


@pytest.mark.slow
def test_without_an_effect_it_stops_at_its_limit_and_says_what_is_left(command):
    claim = "LRD is above itself"
    out = command(NONE, "--claim", claim, "--most", "2")
    assert f"stopped at 2 seeds, not decided: {claim}" in out
    out = command(NONE, "--claim", claim, "--hours", "1e-6")  # the next seed would take longer
    assert f"stopped at the hours, not decided: {claim}" in out
    assert {run.seed for run in command.runs()} == {0, 1}


@pytest.mark.slow
def test_killed_and_repeated_it_ends_the_same(command, tmp_path):
    claim = "LRD is above itself"
    words = ["--claim", claim, "--most", "2"]
    whole = command(NONE, *words)
    runs_dir, path = tmp_path / "killed", tmp_path / "claims.yaml"
    code = (
        "import sys; from pathlib import Path; from scripts import decide\n"
        "from scripts.verdicts.claims import read_claims\n"
        f"decide.read_claims = lambda: read_claims(Path({str(path)!r})); decide.main()"
    )
    words += ["--scale", "smoke", "--runs-dir", str(runs_dir)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, start_new_session=True
    )
    begun = runs_dir / "smoke/digits/adam+lrd0.5/seed1/run.json"
    while not begun.exists() and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    runs = read_runs(runs_dir, scale="smoke").runs
    assert [run.status for run in runs] == ["done", "running"]
    again = command(NONE, *words)
    assert again.splitlines()[-3:] == whole.splitlines()[-3:]
    for run, undisturbed in zip(runs, command.runs(), strict=True):
        name = "metrics.csv"
        assert (run.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes()


def test_a_plan_runs_nothing(command):
    out = command(LARGE, "--claims", "digits", "--plan")
    assert "expected for Adam is above a coin: about 4 seeds in all, 4 more" in out
    assert command.runs() == []


def test_a_seed_that_another_processor_has_begun_is_left_to_it(tmp_path):
    """Its pair would be of two processors; one that is finished here is not made again."""
    batch = decide.Batch("table1", "mnist", False, ("adam", "adam+lrd0.5"), ())
    for seed in (0, 1):
        make_run(tmp_path, "adam", seed, [97.0])  # on "Some CPU"
    runs = read_runs(tmp_path, scale="paper").runs
    here = environment(torch.device("cpu"))["cpu"]
    made = [replace(run, info=run.info | {"cpu": here}) for run in runs]
    assert decide.next_seed(batch, runs) == 2
    assert decide.next_seed(batch, made) == 0
    assert decide.next_seed(batch._replace(arms=("adam",)), made) == 2


def unrun(family):
    """The verdicts of a family's claims without a run."""
    verdicts = judge(read_claims(), Runs([], []))
    return [verdict for verdict in verdicts if verdict.claim.family == family]


def test_no_run_is_made_that_no_claim_asks_for():
    """Of optimizers with other arms, each has its own command; of ranges only the grid is run."""
    verdicts = [verdict for verdict in judge(read_claims(), Runs([], [])) if verdict.claim.sweep]
    few = ("controls", "family_rates", "figure8", "figure9", "choice_best")
    for batch in decide.batches_of([v for v in verdicts if v.claim.sweep in few]):
        words = [f"seed={batch.first_seed}", "scale=lite"]
        made = [
            arm_name(config)
            for command in batch.commands
            for config in jobs(batch.sweep, [*command, *words]).values()
        ]
        assert len(made) == len(set(made))
        assert {*batch.arms} == {*made}
        assert batch.ranges == (batch.sweep == "family_rates")
        assert batch.end(60) == (10 if batch.ranges else batch.first_seed + 60)
        assert batch.end(3) == batch.first_seed + 3
        assert not any("lr=0.064" in arm for arm in batch.arms)


def test_arms_that_batches_share_cost_once_and_finished_ones_nothing(tmp_path):
    make_run(tmp_path, "adam", 0, [97.0])  # which took a minute
    runs = read_runs(tmp_path, scale="paper").runs
    one = decide.Batch("table1", "mnist", False, ("adam", "adam+lrd0.5"), ())
    other = decide.Batch("controls", "mnist", False, ("adam+lrd0.5", "adam+lr0.5"), ())
    assert decide._hours({one: 0, other: 0}, runs, None) == pytest.approx(2 / 60)
    assert decide._hours({one: 0, other: 1}, runs, None) == pytest.approx(3 / 60)


def test_the_hours_of_a_first_seed_are_those_of_its_arms_and_of_the_runs_folder(
    tmp_path, monkeypatch
):
    """Without a finished run to go by; an arm that batches share is counted once."""
    hour = plan.Cost({"adam": 3600.0, "adam+lrd": 3600.0}, 0)  # an epoch, of a hundred
    monkeypatch.setattr(plan, "measure", lambda *_: hour)
    words = ("experiment=mnist", "optimizer=adam", "lrd.enabled=false,true")
    one = decide.Batch("table1", "mnist", False, ("adam", "adam+lrd0.5"), (words,))
    other = decide.Batch(None, "mnist", False, ("adam",), (words[:2],))
    options = decide._options(["--claims", "mnist", "--runs-dir", str(tmp_path)])
    assert decide._hours({one: 0}, [], options) == pytest.approx(200)
    assert decide._hours({one: 0, other: 0}, [], options) == pytest.approx(200)


@pytest.mark.parametrize("words", [["--scale", "papr"], ["--jobs", "0"], ["--hours", "nan"]])
def test_words_that_mean_nothing_are_refused_before_a_run(words, capsys):
    with pytest.raises(SystemExit) as stop:
        decide.main(["--claims", "mnist", *words])
    assert stop.value.code == 2
    assert words[1] in capsys.readouterr().err


def test_more_seeds_are_not_asked_for_where_they_would_decide_nothing(runs, verdicts_of):
    text = family("""
      Rises: {trend: [[sgdm, rmsprop, adam]], seeds: 4}
      Apart: {pairs: [[sgdm+lrd0.5, sgdm]]}""")
    for seed in range(4):
        for arm, last in (("sgdm", 91 + seed), ("rmsprop", 92 - seed), ("adam", 93 - seed)):
            make_run(runs, arm, seed, [50.0, last])
        status = "done" if seed else "diverged"
        make_run(runs, "sgdm+lrd0.5", seed, [50.0, 90.0 + seed], status=status)
        if seed == 2:
            assert [decide.decided(verdict) for verdict in verdicts_of(text)] == [False, True]
    rises, apart = verdicts_of(text)
    assert (rises.verdict, apart.verdict, apart.alone) == ("undecided", "not comparable", "")
    assert decide.decided(rises)
    assert decide.decided(apart)


def test_best_against_best_waits_for_the_runs_that_choose(tmp_path, capsys, monkeypatch):
    """Its seeds begin where those that choose have ended."""

    def unknown(*_):
        raise plan.PlanError("nobody knows")

    verdicts = unrun("best against best on MNIST")
    claims = [verdict.claim for verdict in verdicts]
    (batch,) = decide.batches_of(verdicts)
    assert decide.next_seed(batch, []) == 10
    words = ["--scale", "lite", "--runs-dir", str(tmp_path), "--claim", claims[0].text]
    decide.main(words)
    out = capsys.readouterr().out
    assert "left out: sgdm+lrd0.5+best, sgdm+best of mnist: no best rate of sgdm" in out
    assert f"nothing can be run, not decided: {claims[0].text}" in out
    for arm in ("sgdm", "sgdm+lrd0.5"):
        for rate in ("", "+lr=0.2"):
            make_run(tmp_path, arm + rate, 0, [97.0], experiment="mnist_choice", scale="lite")
    decide.main([*words, "--most", "0"])  # counted from the first seed that may be compared
    assert "stopped at 0 seeds" in capsys.readouterr().out
    monkeypatch.setattr(decide, "_hours", unknown)
    decide.main([*words, "--plan"])
    assert " more, nobody knows" in capsys.readouterr().out
    monkeypatch.setattr(decide, "expected", lambda *_: math.inf)
    decide.main([*words, "--plan"])
    assert "more than 1000 seeds in all" in capsys.readouterr().out
    assert not decide.waits_for(decide.batches_of(verdicts[:1])[0], decide._options(words))


def test_a_claim_that_is_not_there_is_refused(command):
    with pytest.raises(SystemExit, match="no claim reads 'LRD is magic'"):
        command(LARGE, "--claim", "LRD is magic")
