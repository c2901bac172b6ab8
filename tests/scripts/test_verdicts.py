"""Claims and their verdicts, on synthetic runs with a known truth."""

import dataclasses
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml

from experiments.record.reader import Runs, read_runs
from experiments.tasks.classification import COLUMNS
from helpers.claims import ONE, PUBLISHED, STEADY, family, make_pairs
from helpers.commands import ROOT
from helpers.synthetic import make_run
from scripts.titles import anchor
from scripts.verdicts import __main__ as command
from scripts.verdicts import text as verdicts
from scripts.verdicts.claims import read_claims
from scripts.verdicts.compare import statistic
from scripts.verdicts.intervals import p_value
from scripts.verdicts.judge import judge


@pytest.mark.parametrize(
    ("mean", "spread", "seeds", "verdict", "negligible"),
    [
        (0.30, 1, 6, "supported", False),
        (0.20, 1, 6, "supported, smaller than published", False),
        (0.05, 1, 6, "supported, smaller than published", True),
        (-0.30, 1, 6, "contradicted", False),
        (-0.05, 1, 6, "contradicted", True),
        (0.0, 1, 6, "no effect", False),
        (0.0, 12, 8, "published gain excluded", False),
        (0.1, 60, 8, "undecided", False),
        (-0.30, 1, 3, "undecided", False),  # too few seeds, whatever they show
        (0.30, 1, 1, "undecided", False),
        (0.30, 0, 6, "undecided", False),  # no spread, no test
        (0.0, 0, 0, "not run", False),
    ],
)
def test_the_interval_decides(runs, verdicts_of, mean, spread, seeds, verdict, negligible):
    make_pairs(runs, [mean + spread * step for step in STEADY[:seeds]])
    (judged,) = verdicts_of(ONE)
    assert (judged.verdict, judged.negligible) == (verdict, negligible)
    assert judged.tested[0].result.n == seeds
    if spread and seeds > 3:  # the words are those of the interval
        result, (pair,) = judged.tested[0].result, judged.claim.comparisons
        assert (result.low > 0) == verdict.startswith("supported")
        assert (p_value(result, 0.0) < 0.05) == (result.low > 0 or result.high < 0)
        assert pair.margin == 0.1


def test_only_seeds_that_both_arms_have_are_compared(runs, verdicts_of):
    make_pairs(runs, [1.0, 1.1])
    make_run(runs, "adam", 2, [50.0, 10.0])
    (judged,) = verdicts_of(ONE)
    assert judged.tested[0].measured.seeds == [0, 1]
    assert judged.tested[0].measured.differences == pytest.approx([1.0, 1.1])


def test_a_run_that_diverged_is_no_comparison_unless_it_has_no_partner(runs, verdicts_of):
    """Or the seeds that survive would speak for an arm that does not."""
    make_pairs(runs, [0.3 + step for step in STEADY])
    make_run(runs, "adam", 9, [50.0, 10.0], status="diverged")
    assert verdicts_of(ONE)[0].verdict == "supported"
    make_run(runs, "adam+lrd0.5", 9, [50.0, 10.0])
    (judged,) = verdicts_of(ONE)
    assert (judged.verdict, judged.alone) == ("not comparable", "")
    assert "adam diverged at seed 9" in verdicts.reasons([judged])[0]


@pytest.mark.usefixtures("unchecked")
def test_a_claim_younger_than_its_runs_is_marked(runs, verdicts_of):
    make_pairs(runs, STEADY)
    for number, path in enumerate(runs.glob("paper/mnist/*/seed0/run.json")):
        day = f"2026-11-2{number}T10:00:00Z"
        path.write_text(path.read_text().replace("{", f'{{"started": "{day}", ', 1))
    for stated, late in (("2026-11-20", False), ('"2026-11-20T10:01Z"', True)):
        text = ONE.replace("stated: 2026-11-20", f"stated: {stated}")
        (judged,) = verdicts_of(text)
        assert judged.late == late
        assert ("LRD helps Adam †" in verdicts.row(judged)) == late


SEVERAL = family(
    """
      Two of three:
        at_least: 2
        pairs: &pairs [[adam+lrd0.1, adam], [adam+lrd0.5, adam], [adam+lrd0.9, adam]]
      All three: {pairs: *pairs}""",
    experiment="cifar10",
)


@pytest.mark.parametrize(
    ("gains", "two", "all_three"),
    [
        ((1, 1, 1), "supported", "supported"),
        ((1, 1, -1), "supported", "contradicted"),
        ((1, -1, -1), "contradicted", "contradicted"),
        ((0, 0, 0), "no effect", "no effect"),
        ((1, 1, 0), "supported", "undecided"),
        ((1, 0, 0), "undecided", "undecided"),
    ],
)
def test_a_claim_of_several_pairs(runs, verdicts_of, gains, two, all_three):
    """All of them hold by the largest p, some of them by the partial conjunction."""
    for seed in range(8):
        make_run(runs, "adam", seed, [40.0, 50.0], experiment="cifar10")
        for p, gain in zip((0.1, 0.5, 0.9), gains, strict=True):
            last = 50.0 + gain + STEADY[seed] * (1 + p)
            make_run(runs, f"adam+lrd{p:g}", seed, [40.0, last], experiment="cifar10")
    judged = verdicts_of(SEVERAL)
    assert [claim.verdict for claim in judged] == [two, all_three]
    if all_three == "supported":
        assert judged[1].p == max(test.holds for test in judged[1].tested)


@pytest.mark.parametrize(("seeds", "verdict"), [(8, "supported"), (7, "undecided")])
def test_an_order_is_one_test_at_the_stated_number_of_seeds(runs, verdicts_of, seeds, verdict):
    text = family("""
      Rises: {seeds: 8, trend: [[adam, adam+lrd0.5, adam+lrd0.9]]}
      Falls: {seeds: 8, trend: [[adam+lrd0.9, adam+lrd0.5, adam]]}
      Falls backwards: {below: 0, seeds: 8, trend: [[adam+lrd0.9, adam+lrd0.5, adam]]}""")
    for seed in range(seeds):
        for number, arm in enumerate(("adam", "adam+lrd0.5", "adam+lrd0.9")):
            make_run(runs, arm, seed, [50.0, PUBLISHED + 0.1 * number + STEADY[seed]])
    rises, falls, backwards = verdicts_of(text)
    for judged, difference in ((rises, 0.2), (falls, -0.2)):  # last arm less first
        (test,) = judged.tested
        assert test.measured.differences == pytest.approx([difference] * seeds)
        assert test.result.mean == pytest.approx(difference)
    assert rises.verdict == backwards.verdict == verdict
    assert falls.verdict == ("contradicted" if verdict == "supported" else "undecided")


def test_statistics_of_speed(runs, verdicts_of):
    """The base is at its last value, 80, in its third epoch; the other is there in its second."""
    text = family("""
      Sooner: {statistic: "reach:train_accuracy", below: 0, pairs: [[adam+lrd0.5, adam]]}
      Higher: {statistic: "mean:train_accuracy", pairs: [[adam+lrd0.5, adam]]}
      Never: {statistic: "reach:train_accuracy", below: 0, pairs: [[sgdm+lrd0.5, sgdm]]}""")
    make_run(runs, "adam", 0, [60.0, 70.0, 85.0, 80.0])
    make_run(runs, "adam+lrd0.5", 0, [75.0, 82.0, 81.0, 79.0])
    make_run(runs, "sgdm", 0, [60.0, 70.0, 85.0, 80.0])
    make_run(runs, "sgdm+lrd0.5", 0, [10.0, 20.0, 30.0, 40.0])
    judged = {claim.claim.text: claim.tested[0] for claim in verdicts_of(text)}
    assert judged["Sooner"].measured.differences == [2 - 3]
    assert judged["Higher"].measured.differences == pytest.approx([(15 + 12 - 4 - 1) / 4])
    assert judged["Never"].measured.differences == [5 - 3]  # one more than there are epochs
    (run, *_) = read_runs(runs, scale="paper").runs
    sooner = judged["Sooner"].pair
    loss = sooner._replace(statistic="reach:train_loss", column=COLUMNS["train_loss"])
    assert statistic(loss, run, run) == 4  # it falls until the last epoch
    run.metrics["test_accuracy"] = np.array([np.nan, 70.0, np.nan, 80.0])  # every second epoch
    assert statistic(sooner._replace(statistic="mean:test_accuracy"), run, run) == 75
    make_run(runs, "rmsprop", 0, [50.0, *range(80, 90)])
    *_, long = (run for run in read_runs(runs, scale="paper").runs if run.arm == "rmsprop")
    assert statistic(sooner._replace(statistic="last10:test_accuracy"), long, long) == 84.5


def test_the_mean_of_several_arms_is_compared_seed_by_seed(runs, verdicts_of):
    text = family("""
      Middle: {pairs: [[[adam+lrd0.3, adam+lrd0.5], [adam+lrd0.1, adam+lrd0.9]]]}""")
    for arm, last in (("0.3", 92.0), ("0.5", 94.0), ("0.1", 90.0), ("0.9", 91.0)):
        make_run(runs, f"adam+lrd{arm}", 0, [last])
    assert verdicts_of(text)[0].tested[0].measured.differences == [93.0 - 90.5]


@pytest.mark.slow
@pytest.mark.parametrize(("more", "rate"), [("", 0.05), ("\n    exploratory: true", 0.1)])
def test_without_any_effect_a_whole_family_is_seldom_decided(
    claims, tmp_path, monkeypatch, more, rate
):
    """Runs whose arms' labels are shuffled at each seed, judged after 4, 6, 8 and 12 seeds.

    300 times; a family errs if any of its claims is supported or contradicted at any look.
    """
    arms = [f"adam+lrd0.{p}" for p in (1, 3, 5, 7, 9)]
    lines = [f"      {arm} last: {{pairs: [[{arm}, adam]]}}\n" for arm in arms]
    lines += [
        f"      {arm} sooner: {{statistic: reach:train_accuracy, below: 0, pairs: [[{arm}, adam]]}}"
        "\n"
        for arm in arms
    ]
    read = claims(family("\n" + "".join(lines), more=more))
    monkeypatch.setattr("experiments.record.reader.faults", lambda run: [])  # these are not on disk
    random, wrong = np.random.default_rng(0), 0
    make_run(tmp_path / "runs", "adam", 0, [50.0] * 12)
    (template,) = read_runs(tmp_path / "runs", scale="paper").runs
    for _ in range(300):
        runs = []
        for seed in range(12):
            for arm in random.permutation(["adam", *arms]):
                curve = np.sort(random.normal(90.0, 3.0, 12)) + random.normal(0.0, 0.3)
                metrics = {"epoch": np.arange(1, 13.0)}
                metrics |= {"test_accuracy": curve, "train_accuracy": curve}
                runs.append(dataclasses.replace(template, arm=str(arm), seed=seed, metrics=metrics))
        looks = [judge(read, Runs([r for r in runs if r.seed < n], [])) for n in (4, 6, 8, 12)]
        words = {verdict.verdict for look in looks for verdict in look}
        wrong += bool(words & {"supported", "contradicted"})
    assert wrong <= 300 * rate + 2 * (300 * rate) ** 0.5


def test_claims_were_stated_when_git_says_so():
    """`stated` is not earlier than the commit that brought the claim's words."""

    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") == "true\n":
        pytest.skip("the history is not here")
    first = {}
    log = git("log", "--reverse", "--format=%H %cd", "--date=format-local:%Y-%m-%dT%H:%MZ",
              "--", "conf/claims.yaml")  # fmt: skip
    for commit, day in map(str.split, log.splitlines()):
        content = yaml.safe_load(git("show", f"{commit}:conf/claims.yaml"))
        for of_family in content["families"].values():
            for claim in (*of_family["claims"], of_family.get("omnibus")):
                first.setdefault(claim, day)
    late = [
        claim.text
        for claim in read_claims().claims
        if claim.text in first and not claim.omnibus and claim.stated < first[claim.text]
    ]
    assert late == []


def test_files_name_every_run_that_a_number_is_made_of(runs, tmp_path, capsys):
    make_pairs(runs, [1.0, 1.1, 1.1])
    command.main(["--runs-dir", str(runs), "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "| LRD improves Adam's test accuracy on MNIST" in said
    claims = pd.read_csv(tmp_path / "tables" / "paper" / "verdicts.csv").set_index("claim")
    unrun = "LRD improves SGDM's test accuracy on MNIST"
    assert (claims.verdict[unrun], unrun in said) == ("not run", False)
    table = pd.read_csv(tmp_path / "tables" / "paper" / "pairs.csv")
    row = table.query("n > 0 and statistic == 'last:test_accuracy'").iloc[0]
    assert row["mean"] == pytest.approx(3.2 / 3, abs=1e-5)
    lasts = [
        pd.read_csv(runs / "paper" / folder / "metrics.csv")["test_accuracy"].iloc[-1]
        for folder in row["runs"].split()
    ]
    half = len(lasts) // 2
    assert np.mean(lasts[:half]) - np.mean(lasts[half:]) == pytest.approx(row["mean"], abs=1e-4)
    forests = tmp_path / "figures/paper/forest"
    assert (forests / "accuracy-on-mnist.png").stat().st_size > 10_000
    run = claims[claims.verdict != "not run"].index
    families = {claim.family for claim in read_claims().claims if claim.text in run}
    assert {path.name for path in forests.iterdir()} == {
        f"{anchor(name)}.{kind}" for name in families for kind in ("png", "pdf")
    }
