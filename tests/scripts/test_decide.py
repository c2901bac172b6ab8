"""Seeds are added until claims are decided, or the hours are spent; real runs of digits."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from experiments.record.machine import environment
from experiments.record.reader import read_runs
from helpers.claims import HEAD, family
from helpers.synthetic import ROOT, make_run
from scripts import decide
from scripts.verdicts.claims import read_claims

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
    batch = decide.Batch("table1", "mnist", ("adam", "adam+lrd0.5"), ())
    for seed in (0, 1):
        make_run(tmp_path, "adam", seed, [97.0])  # on "Some CPU"
    runs = read_runs(tmp_path, scale="paper").runs
    here = environment(torch.device("cpu"))["cpu"]
    made = [replace(run, info=run.info | {"cpu": here}) for run in runs]
    assert decide.next_seed(batch, runs) == 2
    assert decide.next_seed(batch, made) == 0
    assert decide.next_seed(batch._replace(arms=("adam",)), made) == 2


def test_best_against_best_waits_for_the_runs_that_choose(tmp_path, capsys):
    """Its seeds begin where those that choose have ended."""
    claims = [claim for claim in read_claims().claims if "best against best" in claim.family]
    (batch,) = decide.batches_of(claims)
    assert decide.next_seed(batch, []) == 10
    words = ["--scale", "lite", "--runs-dir", str(tmp_path), "--claim", claims[0].text]
    decide.main(words)
    out = capsys.readouterr().out
    assert "left out: sgdm+lrd0.5+best, sgdm+best of mnist: no best rate of sgdm" in out
    assert f"nothing can be run, not decided: {claims[0].text}" in out
    for arm in ("sgdm", "sgdm+lrd0.5"):
        for rate in ("", "+lr=0.2"):
            make_run(tmp_path, arm + rate, 0, [97.0], experiment="mnist_choice", scale="lite")
    assert not decide.waits_for(decide.batches_of(claims[:1])[0], decide._options(words))


def test_a_claim_that_is_not_there_is_refused(command):
    with pytest.raises(SystemExit, match="no claim reads 'LRD is magic'"):
        command(LARGE, "--claim", "LRD is magic")
