"""Claims and their verdicts, on synthetic runs with a known truth."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments.record.reader import Runs, read_runs
from experiments.tasks.classification import COLUMNS
from helpers.synthetic import make_run
from scripts.verdicts import __main__ as command
from scripts.verdicts import text as verdicts
from scripts.verdicts.claims import read_claims
from scripts.verdicts.judge import judge, statistic

HEAD = """level: 0.05
correction: holm
another_base: {mnist: 0.5, cifar10: 1}
cost: {claims: {}}
families:
"""


def family(claims, experiment="mnist"):
    """A family's text: accuracies above 0, unless its claims say otherwise."""
    return f"""
  family:
    experiment: {experiment}
    source: Table 1
    statistic: last:test_accuracy
    above: 0
    claims:{claims}
"""


ONE = family("""
      LRD helps Adam: {pairs: [[adam+lrd0.5, adam, 0.27]]}""")


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def claims(tmp_path):
    """The claims of a text in the form of conf/claims.yaml."""

    def read(text):
        path = tmp_path / "claims.yaml"
        path.write_text(HEAD + text)
        return read_claims(path)

    return read


@pytest.fixture
def verdicts_of(claims, runs):
    """What follows for the claims of a text from the runs that were made."""
    return lambda text: judge(claims(text), read_runs(runs, scale="paper"))


def pairs_of(runs, base, masked, lasts):
    """Runs of two arms, one for each pair of last accuracies."""
    for seed, (first, second) in enumerate(lasts):
        make_run(runs, base, seed, [50.0, first])
        make_run(runs, masked, seed, [50.0, second])


@pytest.mark.parametrize(
    ("lasts", "verdict"),
    [
        ([(90.0, 91.0), (90.5, 91.6), (89.0, 90.1)], "supported"),
        ([(91.0, 90.0), (91.6, 90.5), (90.1, 89.0)], "contradicted"),
        ([(90.0, 91.0), (90.5, 90.1), (89.0, 89.5)], "undecided"),
        ([(90.0, 99.0)], "undecided"),  # one seed decides nothing
        ([(90.0, 91.0), (89.0, 90.0)], "undecided"),  # no spread, no test
        ([], "not run"),
    ],
)
def test_the_interval_decides(runs, verdicts_of, lasts, verdict):
    pairs_of(runs, "adam", "adam+lrd0.5", lasts)
    (judged,) = verdicts_of(ONE)
    assert judged.verdict == verdict
    assert judged.tested[0].result.n == len(lasts)


def test_only_seeds_that_both_arms_have_are_compared(runs, verdicts_of):
    pairs_of(runs, "adam", "adam+lrd0.5", [(90.0, 91.0), (90.5, 91.6)])
    make_run(runs, "adam", 2, [50.0, 10.0])
    (judged,) = verdicts_of(ONE)
    assert judged.tested[0].measured.seeds == [0, 1]
    assert judged.tested[0].measured.differences == pytest.approx([1.0, 1.1])


def test_a_run_that_diverged_leaves_its_pair_undecided(runs, verdicts_of):
    """Or the seeds that survive would speak for an arm that does not."""
    pairs_of(runs, "adam", "adam+lrd0.5", [(90.0, 91.0), (90.5, 91.6), (89.0, 90.1)])
    make_run(runs, "adam", 3, [50.0, 90.0])
    make_run(runs, "adam+lrd0.5", 3, [50.0, 10.0], status="diverged")
    (judged,) = verdicts_of(ONE)
    assert judged.verdict == "undecided"
    assert "diverged: adam+lrd0.5 at seed 3" in verdicts.evidence(judged)


def test_a_run_that_diverged_without_a_partner_voids_nothing(runs, verdicts_of):
    pairs_of(runs, "adam", "adam+lrd0.5", [(90.0, 91.0), (90.5, 91.6), (89.0, 90.1)])
    make_run(runs, "adam", 7, [50.0, 10.0], status="diverged")
    (judged,) = verdicts_of(ONE)
    assert judged.verdict == "supported"
    assert "diverged" not in verdicts.evidence(judged)


SPEED_AND_ACCURACY = family("""
      Higher: {statistic: "mean:train_accuracy", pairs: [[adam+lrd0.5, adam]]}
      Last: {pairs: [[adam+lrd0.5, adam]]}""")


def test_a_base_far_from_the_published_one_is_said_of_every_claim(runs, verdicts_of):
    """A collapsed base makes any method look good: published is 97.88."""
    pairs_of(runs, "adam", "adam+lrd0.5", [(20.0, 91.0), (22.0, 91.6), (21.0, 90.1)])
    far = verdicts_of(SPEED_AND_ACCURACY)
    (line,) = verdicts.unlike(far)
    assert "adam 21 (97.88)" in line
    text = verdicts.markdown(far, "paper", 0.05)
    assert line in text
    assert [verdicts.word(verdict) for verdict in far] == ["supported, other base"] * 2
    assert text.count("supported, other base") == 2


@pytest.mark.parametrize(("base", "scale"), [(97.6, "paper"), (98.3, "paper"), (21.0, "lite")])
def test_a_base_near_the_published_one_or_at_another_scale_is_not(runs, claims, base, scale):
    for seed in range(2):
        make_run(runs, "adam", seed, [base + 0.01 * seed], scale=scale)
        make_run(runs, "adam+lrd0.5", seed, [base + 0.1], scale=scale)
    judged = judge(claims(ONE), read_runs(runs, scale=scale))
    assert not verdicts.unlike(judged)
    assert verdicts.word(judged[0]) == "supported"


def test_seeds_on_different_processors_are_named(runs, verdicts_of, monkeypatch):
    monkeypatch.setattr(
        "experiments.record.reader.faults", lambda run: []
    )  # the digest, which is changed
    pairs_of(runs, "adam", "adam+lrd0.5", [(90.0, 91.0), (90.5, 91.6)])
    record = runs / "paper" / "mnist" / "adam" / "seed1" / "run.json"
    record.write_text(record.read_text().replace("Some CPU", "Another CPU"))
    (judged,) = verdicts_of(ONE)
    (pair,) = judged.tested
    assert pair.measured.mixed == [1]


def test_an_effect_against_the_claim_says_so(runs, verdicts_of):
    """Of accuracy, claimed to rise, and of epochs, claimed to fall."""
    text = family("""
      Higher: {pairs: [[adam+lrd0.5, adam]]}
      Lower: {below: 0, pairs: [[adam+lrd0.5, adam]]}""")
    pairs_of(runs, "adam", "adam+lrd0.5", [(90.0, 91.0), (90.5, 91.6), (89.0, 90.1)])
    higher, lower = (verdicts.row(verdict, 0.05) for verdict in verdicts_of(text))
    assert higher[6].startswith("+")
    assert lower[6] == higher[6].replace("+", "-")
    assert "against" in lower[7]
    assert "against" not in higher[7]


def test_pairs_that_were_not_run_are_counted(runs, verdicts_of):
    for seed in range(2):
        make_run(runs, "adam", seed, [50.0], experiment="cifar10")
        make_run(runs, "adam+lrd0.5", seed, [51.0 + seed], experiment="cifar10")
    assert "2 not run" in verdicts.evidence(verdicts_of(SEVERAL)[0])


def test_a_family_is_corrected_for_all_of_its_claims_run_or_not(runs, verdicts_of):
    """The same three seeds decide a claim alone, and not as one of twenty."""
    lasts = [(90.0, 91.0), (90.5, 91.6), (89.0, 90.2)]
    pairs_of(runs, "adam", "adam+lrd0.5", lasts)
    more = (f"      Claim {p}: {{pairs: [[adam+lrd0.{p}, adam]]}}\n" for p in range(11, 30))
    alone, among = verdicts_of(ONE), verdicts_of(ONE + "".join(more))
    p = alone[0].tested[0].result.p
    assert (alone[0].verdict, alone[0].tested[0].adjusted) == ("supported", p)
    assert (among[0].verdict, among[0].tested[0].adjusted) == ("undecided", min(1, 20 * p))


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
        ((1, 1, None), "supported", "undecided"),
        ((1, None, None), "undecided", "undecided"),
        ((1, None, -1), "undecided", "contradicted"),
        ((None, -1, -1), "contradicted", "contradicted"),
    ],
)
def test_a_claim_of_several_pairs(runs, verdicts_of, gains, two, all_three):
    noise = (0.0, 0.01, -0.01)
    for seed in range(3):
        make_run(runs, "adam", seed, [50.0], experiment="cifar10")
        for p, gain in zip((0.1, 0.5, 0.9), gains, strict=True):
            if gain is not None:
                last = 50.0 + gain + noise[seed] * (1 + p)
                make_run(runs, f"adam+lrd{p:g}", seed, [last], experiment="cifar10")
    assert [claim.verdict for claim in verdicts_of(SEVERAL)] == [two, all_three]


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
    make_run(runs, "rmsprop", 0, [50.0, *range(80, 90)])
    *_, long = (run for run in read_runs(runs, scale="paper").runs if run.arm == "rmsprop")
    assert statistic(sooner._replace(statistic="last10:test_accuracy"), long, long) == 84.5


def test_the_mean_of_several_arms_is_compared_seed_by_seed(runs, verdicts_of):
    text = family("""
      Middle: {pairs: [[[adam+lrd0.3, adam+lrd0.5], [adam+lrd0.1, adam+lrd0.9]]]}""")
    for arm, last in (("0.3", 92.0), ("0.5", 94.0), ("0.1", 90.0), ("0.9", 91.0)):
        make_run(runs, f"adam+lrd{arm}", 0, [last])
    assert verdicts_of(text)[0].tested[0].measured.differences == [93.0 - 90.5]


def test_without_any_effect_a_whole_family_is_seldom_decided(claims, tmp_path, monkeypatch):
    """Synthetic runs whose arms are alike, through all of it: at most one family in twenty errs.

    A hundred families of five claims on accuracy, and on epochs to reach the base's.
    """
    arms = [f"adam+lrd0.{p}" for p in (1, 3, 5, 7, 9)]
    lines = [f"      {arm} last: {{pairs: [[{arm}, adam]]}}\n" for arm in arms]
    lines += [
        f"      {arm} sooner: {{statistic: reach:train_accuracy, below: 0, pairs: [[{arm}, adam]]}}"
        "\n"
        for arm in arms
    ]
    read = claims(family("\n" + "".join(lines)))
    monkeypatch.setattr("experiments.record.reader.faults", lambda run: [])  # these are not on disk
    random, wrong = np.random.default_rng(0), 0
    make_run(tmp_path / "runs", "adam", 0, [50.0] * 12)
    (template,) = read_runs(tmp_path / "runs", scale="paper").runs
    for _ in range(100):
        runs = []
        for arm in ("adam", *arms):
            for seed in range(3):
                curve = np.sort(random.normal(90.0, 3.0, 12)) + random.normal(0.0, 0.3)
                metrics = pd.DataFrame({"epoch": range(1, 13), "test_accuracy": curve})
                metrics["train_accuracy"] = curve
                runs.append(dataclasses.replace(template, arm=arm, seed=seed, metrics=metrics))
        wrong += any(
            each.verdict in ("supported", "contradicted") for each in judge(read, Runs(runs, []))
        )
    assert wrong <= 11  # of 100, if one in twenty errs: more than 11 come once in 200 times


def test_files_name_every_run_that_a_number_is_made_of(runs, tmp_path, capsys):
    pairs_of(runs, "adam", "adam+lrd0.5", [(90.0, 91.0), (90.5, 91.6), (89.0, 90.1)])
    command.main(["--runs-dir", str(runs), "--out", str(tmp_path)])
    assert "| LRD improves Adam's test accuracy on MNIST | Table 1 |" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "paper" / "pairs.csv")
    row = table.query("n > 0 and statistic == 'last:test_accuracy'").iloc[0]
    assert row["mean"] == pytest.approx(3.2 / 3, abs=1e-5)
    lasts = [
        pd.read_csv(runs / "paper" / folder / "metrics.csv")["test_accuracy"].iloc[-1]
        for folder in row["runs"].split()
    ]
    assert sum(lasts[:3]) / 3 - sum(lasts[3:]) / 3 == pytest.approx(row["mean"], abs=1e-5)
