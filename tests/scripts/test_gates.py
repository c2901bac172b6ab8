"""What is no verdict: runs that cannot be compared, or that say nothing by construction."""

import numpy as np
import pytest

from experiments.identity import reference
from experiments.record.reader import Runs, read_runs
from helpers.claims import ONE, STEADY, family, make_pairs
from helpers.synthetic import make_run, read_experiment
from scripts.report import __main__ as report_command
from scripts.report.results import read_results
from scripts.report.text import report
from scripts.verdicts import ends, forest, regime, share
from scripts.verdicts import text as verdicts
from scripts.verdicts.claims import read_claims
from scripts.verdicts.compare import image_interval


@pytest.mark.parametrize(
    ("base", "scale", "verdict", "alone"),
    [
        (97.66, "paper", "supported", ""),  # nearer than the published gain
        (98.10, "paper", "supported", ""),
        (98.20, "paper", "not comparable", "supported"),
        (90.0, "mid", "not comparable", "supported"),  # without clean training accuracy
        (90.0, "lite", "points for", "supported"),
    ],
)
def test_a_base_unlike_the_published_one_is_no_comparison(
    runs, verdicts_of, base, scale, verdict, alone
):
    """At other scales than the paper's nobody expects its numbers; at lite nothing is decided."""
    folder = "lite" if scale == "mid" else scale
    make_pairs(runs, [1.5 + step for step in STEADY], base=base, scale=folder)
    (judged,) = verdicts_of(ONE, scale)
    assert (judged.verdict, judged.alone) == (verdict, alone)
    if verdict == "not comparable" and scale == "paper":
        assert "adam 98.2, published 97.88" in verdicts.markdown([judged], scale, CLAIMS)
        assert verdicts.word(judged) == "not comparable (here: supported)"


CLAIMS = read_claims()


@pytest.mark.parametrize(
    ("clean", "test", "missed"),
    [
        ([90, 96.0, 96.0, 96.2], 80, ""),
        ([90, 96.0, 96.0, 94.9], 80, "clean training accuracy (%) 94.90, to be 95 to 100"),
        ([90, 90.0, 95.0, 95.6], 80, "over the last tenth of the epochs 0.60, to be -0.5 to 0.5"),
        ([90, 96.0, 96.0, 96.0], 92, "gap to test accuracy (points) 4.00, to be 5 to 100"),
        ([90, 96.0, 96.0, 96.0], 74, "test error (%) 26.00, to be 0 to 25"),
    ],
)
def test_at_mid_scale_a_base_must_have_converged(runs, verdicts_of, clean, test, missed):
    clean = [clean[0]] * 7 + clean[1:]  # ten epochs, of which the last is a tenth
    for seed, step in enumerate(STEADY):
        for arm, last in (("adam", test), ("adam+lrd0.5", test + 4 + step)):
            columns = {
                "train_loss": [1 / epoch for epoch in range(1, 11)], "train_accuracy": clean,
                "test_loss": [1.0] * 10, "test_accuracy": [50.0] * 9 + [last],
                "clean_accuracy": clean,
            }  # fmt: skip
            make_run(runs, arm, seed, [0.0] * 10, columns=columns, scale="lite")
    control = family("""
      LRD helps Adam: {pairs: [[adam+lrd0.5, adam, 0.27]]}
      More than half the rate: {pairs: [[adam+lrd0.5, adam+lr0.5]]}""")
    for seed, step in enumerate(STEADY):
        make_run(runs, "adam+lr0.5", seed, [50.0, test + 3 + step / 2], scale="lite")
    judged, other = verdicts_of(control, "mid")
    assert other.verdict == judged.verdict == ("not comparable" if missed else "supported")
    assert missed in "".join(verdicts.reasons([judged]))
    table = regime.table(Runs(read_runs(runs, scale="lite").runs, []))
    row, *_ = table.rows
    assert row[1:5] == ["Adam", "base", "8", f"{clean[-1]:.2f} ± 0.00"]
    assert row[-1] == ("no" if missed else "yes")


@pytest.mark.usefixtures("unchecked")
def test_a_collapsed_arm_is_no_comparison_whichever_side_it_is(runs, verdicts_of):
    text = family("""
      Higher: {pairs: [[adam+lrd0.5, adam]]}
      Against a number: {pairs: [[adam+lrd0.5, 97]]}""")
    make_pairs(runs, [0.3 + step for step in STEADY])
    assert {judged.verdict for judged in verdicts_of(text)} == {"supported"}
    for path in runs.glob("paper/mnist/adam+lrd0.5/*/metrics.csv"):
        path.write_text(path.read_text().replace(",0.5,", ",1.5,"))  # the last epoch's loss
    judged = verdicts_of(text)
    assert {verdict.verdict for verdict in judged} == {"not comparable"}
    assert "adam+lrd0.5 collapsed" in verdicts.reasons(judged)[0]


@pytest.mark.parametrize("scale", ["paper", "lite"])
@pytest.mark.parametrize(("at_least", "direction"), [(2, "points nowhere"), (1, "points for")])
def test_nothing_follows_from_some_of_a_claims_comparisons(
    runs, verdicts_of, scale, at_least, direction
):
    text = family(f"""
      Both: {{at_least: {at_least}, pairs: [[adam+lrd0.5, adam], [sgdm+lrd0.5, sgdm]]}}
      One: {{pairs: [[adam+lrd0.5, adam]]}}""")
    make_pairs(runs, [0.3 + step for step in STEADY], scale=scale)
    both, one = verdicts_of(text, scale)
    assert both.verdict == ("undecided" if scale == "paper" else direction)
    assert one.verdict == ("supported" if scale == "paper" else "points for")
    assert one.adjusted == one.p  # what is not tested corrects nothing


def test_what_is_not_comparable_is_counted_beside_what_holds(runs, verdicts_of):
    make_pairs(runs, [0.3 + step for step in STEADY])
    make_pairs(runs, [0.3 + step for step in STEADY], 90.0, ("sgdm", "sgdm+lrd0.5"))
    (judged,) = verdicts_of(
        family("""
      Any: {at_least: 1, pairs: [[adam+lrd0.5, adam, 0.27], [sgdm+lrd0.5, sgdm, 0.39]]}""")
    )
    assert judged.verdict == "supported"
    assert verdicts.evidence(judged).startswith("1 of 1 as claimed (1 not comparable); means +0.30")
    assert {"o", "^"} <= {line.get_marker() for line in forest.draw([judged]).axes[0].lines}


@pytest.mark.usefixtures("unchecked")
def test_seeds_that_are_all_mixed_are_no_missing_runs(runs, verdicts_of):
    make_pairs(runs, [0.3 + step for step in STEADY])
    for record in runs.glob("paper/mnist/adam/*/run.json"):
        record.write_text(record.read_text().replace("Some CPU", "Another CPU"))
    (judged,) = verdicts_of(ONE)
    assert verdicts.row(judged)[2:5] == ["undecided", "0", "–"]


def test_no_effect_of_some_comparisons_is_none_of_the_claim(runs, verdicts_of):
    text = family("""
      Both: {pairs: [[adam+lrd0.5, adam], [sgdm+lrd0.5, sgdm]]}
      One: {pairs: [[adam+lrd0.5, adam]]}""")
    make_pairs(runs, STEADY)
    assert [judged.verdict for judged in verdicts_of(text)] == ["undecided", "no effect"]


@pytest.mark.usefixtures("unchecked")
def test_seeds_on_different_processors_are_left_out_by_name(runs, verdicts_of):
    make_pairs(runs, [0.3 + step for step in STEADY])
    record = runs / "paper" / "mnist" / "adam" / "seed1" / "run.json"
    record.write_text(record.read_text().replace("Some CPU", "Another CPU"))
    record = runs / "paper" / "mnist" / "adam+lrd0.5" / "seed3" / "run.json"  # went on elsewhere
    moved = '{"machines_so_far": ["cpu / Another CPU", "cpu / Some CPU"],'
    record.write_text(record.read_text().replace("{", moved, 1))
    (judged,) = verdicts_of(ONE)
    assert judged.tested[0].measured.mixed == [1, 3]
    assert not {1, 3} & {*judged.tested[0].measured.seeds}


def test_runs_at_another_choice_than_most_of_their_arm_are_left_out(runs):
    own = reference({"experiment": "mnist", "scale": "paper", "optimizer": {"name": "sgdm"}})
    arms = ["sgdm+best", "sgdm+lrd0.5+best"]
    for seed, changes in enumerate([{}, {}, {"lr": 0.2}, {"weight_decay": 0.0005}], 10):
        make_run(runs, arms[0], seed, [98.0], optimizer=own["optimizer"] | changes)
    make_run(runs, arms[1], 10, [98.0], optimizer=own["optimizer"] | {"lr": 0.4})
    experiment = read_experiment(runs, "paper", "mnist", arms)
    assert {arm: [run.seed for run in experiment[arm].done] for arm in arms} == {
        arms[0]: [10, 11],
        arms[1]: [10],
    }
    found = [(path.name, reason.split("in config")[0]) for path, reason in experiment.left_out]
    why = "made at another choice than most of its arm's runs (optimizer's {} "
    assert found == [("seed12", why.format("lr")), ("seed13", why.format("weight_decay"))]


def test_seeds_that_tie_by_construction_are_left_out(runs, verdicts_of):
    """A base that ends below its first epoch is reached at once by everything."""
    text = family("""
      Sooner: {statistic: "reach:train_accuracy", below: 0, pairs: [[adam+lrd0.5, adam]]}""")
    make_run(runs, "adam", 0, [60.0, 70.0, 55.0])
    make_run(runs, "adam+lrd0.5", 0, [60.0, 70.0, 80.0])
    (judged,) = verdicts_of(text)
    assert judged.tested[0].measured.silent == [0]
    assert verdicts.row(judged)[2:5] == ["undecided", "0", "–"]
    words = [text.get_text() for text in forest.draw([judged]).axes[0].texts]
    assert words[1:] == ["? undecided, n = 0", "Sooner"]


def test_a_forest_stands_below_its_familys_name_whatever_signs_that_has(
    runs, claims, monkeypatch, tmp_path
):
    own = claims(family(" {L: {pairs: [[adam+lrd0.5, adam]]}}", name='"On a/b: [why]"'))
    monkeypatch.setattr("scripts.report.results.read_claims", lambda: own)
    make_pairs(runs, STEADY)
    report_command.main(["--results", str(tmp_path)])
    text = (tmp_path / "REPORT.md").read_text()
    first = text.partition("### On a/b: \\[why\\]\n\n")[2].partition("\n")[0]
    assert first.startswith("![On a/b: \\[why\\], scale paper")
    assert first.endswith("](figures/paper/forest/on-ab-why.png)")
    assert (tmp_path / "figures/paper/forest/on-ab-why.png").exists()


@pytest.mark.parametrize(("differences", "beyond"), [
    ([0.9, 1.1], 0), ([0.5, 1.5, 0.7], 1), ([0.5, 1.5, 0.7, 1.3], 0),
])  # fmt: skip
def test_the_forest_says_what_its_arrows_are_where_there_are_any(
    runs, verdicts_of, differences, beyond
):
    make_pairs(runs, differences)
    figure = forest.draw(verdicts_of(ONE))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels.count("goes on") == beyond
    assert "difference in test accuracy (points)" in figure.axes[0].get_title("left")


@pytest.mark.usefixtures("unchecked")
def test_the_forest_marks_what_is_not_comparable_and_says_why_in_a_line(runs, verdicts_of):
    for base in ("adam", "sgdm"):
        make_pairs(runs, STEADY, 60.0, (base, f"{base}+lrd0.5"), scale="lite")
    for record in runs.glob("lite/mnist/sgdm/*/run.json"):
        record.write_text(record.read_text().replace("Some CPU", "Another CPU"))
    text = family("""
      Any: {pairs: [[adam+lrd0.5, adam], [sgdm+lrd0.5, sgdm]]}""")
    figure = forest.draw(verdicts_of(text, "mid"))
    *_, adam, sgdm = [text.get_text() for text in figure.axes[0].texts]
    assert adam == "adam+lrd0.5 − adam: not comparable"
    assert "not comparable" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert sgdm.startswith("sgdm+lrd0.5 − sgdm: sgdm misses a bound of scale mid: ")
    assert sgdm.endswith(" …")
    assert len(sgdm) <= 115


def test_a_comparison_that_ties_holds_up_no_other(runs, verdicts_of):
    text = family("""
      Sooner:
        statistic: reach:train_accuracy
        below: 0
        pairs: [[adam+lrd0.5, adam], [sgdm+lrd0.5, sgdm]]""")
    for seed, epochs in enumerate([3, 4, 3, 4, 3, 4, 3, 4]):
        make_run(runs, "adam", seed, [60.0, 70.0, 55.0])
        make_run(runs, "adam+lrd0.5", seed, [60.0, 70.0, 80.0])
        make_run(runs, "sgdm", seed, [10.0] * 9 + [90.0])
        make_run(runs, "sgdm+lrd0.5", seed, [10.0] * epochs + [95.0] * (10 - epochs))
    assert [judged.verdict for judged in verdicts_of(text)] == ["supported"]


@pytest.mark.usefixtures("unchecked")
def test_half_of_the_step_that_a_smaller_scale_makes_is_held_against_its_own_error(
    runs, verdicts_of
):
    """Published: 0.27 points of Adam's error of 2.12; of an error of 10 that is 1.27."""
    make_pairs(runs, [0.5 + step for step in STEADY], base=90.0, scale="lite")
    (judged,) = verdicts_of(ONE, "mid")
    assert judged.tested[0].gain == pytest.approx(0.27 / 2.12 * 10, rel=1e-3)
    assert verdicts.row(judged)[6] == "+0.27 (here +1.27)"
    for record in runs.glob("lite/mnist/adam+lrd0.5/*/run.json"):  # which leaves no error to share
        record.write_text(record.read_text().replace('"done"', '"diverged"'))
    assert verdicts.row(verdicts_of(ONE, "mid")[0])[6] == "+0.27"
    assert judged.alone == "supported, smaller than published"  # but for the base's clean accuracy


@pytest.mark.usefixtures("unchecked")
def test_the_test_sets_own_uncertainty_is_a_bootstrap_over_images(runs, verdicts_of):
    """Of 10,000 images the base is right about 9,000, the other about 100 more: ± 0.2 points."""
    make_pairs(runs, [1.0, 1.0])
    for arm, count in (("adam", 9000), ("adam+lrd0.5", 9100)):
        for seed in range(2):
            bits = np.packbits(np.arange(10000) < count).tobytes()
            (runs / "paper" / "mnist" / arm / f"seed{seed}" / "correct.bin").write_bytes(bits)
    (test,) = verdicts_of(ONE)[0].tested
    low, high = image_interval(test.measured, test.pair)
    assert (low, high) == pytest.approx((1 - 0.195, 1 + 0.195), abs=0.02)


@pytest.mark.usefixtures("unchecked")
def test_runs_that_settle_are_told_from_runs_that_spike(runs):
    def run(arm, seed, losses, accuracy, experiment="mnist"):
        columns = {"train_loss": losses, "test_accuracy": [accuracy] * len(losses)}
        make_run(runs, arm, seed, [0.0] * len(losses), columns=columns, experiment=experiment)

    run("adam", 0, [1.0] * 5 + [1e-6] * 10, 98.6)
    run("adam", 1, [1.0] * 5 + [1e-6] * 9 + [0.1], 98.2)
    run("adam", 2, [1.0] * 5 + [1e-6, 0.1] + [1e-6] * 8, 98.4)
    run("sgdm", 0, [1e-6] * 12, 98.0)  # one run is no arm
    for seed in (0, 1):  # which only choose a rate, by images held out
        run("adam", seed, [1e-6] * 12, 98.0, "mnist_choice")
    table = ends.table(read_runs(runs, scale="paper"), "paper")
    assert [row[1:] for row in table.rows] == [["adam", "3", "1", "98.60", "98.30 ± 0.14"]]
    for path in runs.rglob("metrics.csv"):
        path.write_text(path.read_text().replace("1e-06", "1e-03"))
    assert ends.table(read_runs(runs, scale="paper"), "paper") is None


def test_tables_name_the_net_that_was_run_at_their_scale(runs):
    for arm in ("sgdm", "sgdm+lrd0.5", "sgdm+lr0.5"):
        for seed in (0, 1):
            make_run(runs, arm, seed, [50.0] * 12, scale="mid", experiment="cifar10",
                     columns={"train_loss": [1e-6] * 12, "train_accuracy": [99.0] * 12,
                              "test_loss": [1.0] * 12, "test_accuracy": [50.0] * 12})  # fmt: skip
    results = read_results(runs.parent)
    tables = [share.table(results.shares["mid"], "mid")[0]]
    tables += [ends.table(results.runs["mid"], "mid"), regime.table(results.runs["mid"])]
    assert {row[0] for table in tables for row in table.rows} == {"CIFAR-10, ResNet-14"}
    assert {row[2] for row in tables[0].rows} == {"sgdm*"}  # whose base misses bounds
    assert tables[0].notes[-1].startswith("*: the base misses a bound of scale mid")
    assert [row[2] for row in tables[2].rows] == ["base", "LRD", "base, rate halved"]
    assert tables[2].rows[0][4:] == ["–", "–", "–", "50.00 ± 0.00", "no"]  # no clean accuracy
    text = report(results)
    assert "![Figure 6, CIFAR-10, ResNet-14, scale mid]" in text
    assert "<summary>CIFAR-10, ResNet-14, mid scale: 6 runs</summary>" in text
