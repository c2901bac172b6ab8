"""The README: its Python runs as it stands there, and its numbers are those of the results."""

import re
from itertools import product, takewhile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TEXT = " ".join(README.split())
SIDES = ("first", "second")  # of a pair
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(snippet):
    names = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), names)
    return names


def test_the_first_snippet_runs_and_masks():
    names = run(SNIPPETS[0])
    assert all(state["step"] == 10 for state in names["optimizer"].state.values())


def rows_of(text, header):
    """The rows of the table with a header, as lists of cells."""
    lines = text[text.index(f"| {header} |") :].splitlines()
    table = takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [*table][2:]]


def test_it_can_be_read_in_one_go():
    assert len(README.splitlines()) <= 110


def test_what_was_found_is_what_the_verdicts_say():
    known = {}
    for scale in ("lite", "mid", "paper"):
        rows = rows_of((ROOT / f"results/tables/{scale}/verdicts.md").read_text(), "Claim")
        known |= {row[0]: row for row in rows}
    shown = rows_of(README, "Claim")
    assert len(shown) > 5
    for claim, published, here, n, verdict in shown:
        row = known[claim]
        assert [published, here, n, verdict] == [row[6], row[4], row[3], row[2]]


def test_the_shares_of_a_smaller_step_are_the_tables():
    tables = {s: pd.read_csv(ROOT / f"results/tables/{s}/share.csv") for s in ("paper", "mid")}
    training = tables["paper"][tables["paper"].statistic.str.startswith("training accuracy")]
    share = r"(\d+) % \[(\d+), (\d+)\]"
    training = training.set_index("optimizer")
    of_arms = training.loc[["sgdm", "adam", "amsgrad", "rmsprop"]]
    shares = of_arms[["share", "share_low", "share_high"]].to_numpy().flatten()
    said = re.search(
        rf"makes {share} of SGDM's faster training on MNIST, {share} of Adam's, {share} of "
        rf"AMSGrad's and {share} of RMSprop's, which the mask slows; on CIFAR-10 too, by",
        TEXT,
    )
    assert [f"{number:.0f}" for number in shares] == [*said.groups()]
    assert of_arms["n"].min() >= 4
    assert training["rest_high"]["rmsprop"] < 0  # LRD's less that at half the rate
    pairs = pd.read_csv(ROOT / "results/tables/paper/pairs.csv")
    rates = pairs[pairs.claim.str.contains(r"at rates 0\.05, .* \(mean test accuracy")]
    least, seeds, most = re.search(
        r"both fall by more than (\S+) points, their means \(of (\d)\) differ by (\S+) at most "
        r"\(undecided\)",
        TEXT,
    ).groups()
    assert all(rates[side].iloc[0] - rates[side].iloc[-1] > float(least) for side in SIDES)
    assert f"{rates['mean'].abs().max():.2f}" == most
    assert {*rates["n"]} == {int(seeds)}
    three = r"by (\S+), (\S+) and (\S+)"
    smaller_and_masked = re.search(
        rf"half the rate changes accuracy {three} points, LRD {three} \(undecided\)", TEXT
    ).groups()
    accuracy = tables["mid"][tables["mid"].statistic.str.startswith("test accuracy")]
    of = accuracy.set_index("optimizer").loc[["sgdm", "rmsprop", "adam"]]
    assert f"converged; {of.n.min()} seeds" in TEXT
    assert of.n.min() == of.n.max()
    means = [f"{mean:.2f}" for mean in (*of["step_mean"], *of["mask_mean"])]
    assert means == [*smaller_and_masked]
    of = tables["mid"][tables["mid"].statistic.str.startswith("training accuracy")]
    slower = of.set_index("optimizer").loc["rmsprop"]
    (said,) = re.findall(r"on CIFAR-10 too, by (\S+) \[(\S+), (\S+)\] points", TEXT)
    names = ("rest_mean", "rest_high", "rest_low")
    assert [f"{-slower[name]:.2f}" for name in names] == [*said]
    (toy,) = re.findall(rf"at 0\.1 half the rate makes {share} of it", TEXT)
    assert "{} % [{}, {}]".format(*toy) in (ROOT / "results/tables/paper/figure4.md").read_text()


def test_the_changes_of_training_speed_are_the_pairs():
    changes = {}
    for scale, data in (("paper", "MNIST"), ("mid", "CIFAR-10")):
        pairs = pd.read_csv(ROOT / f"results/tables/{scale}/pairs.csv")
        claim = f"On {data}, LRD's training accuracy is higher over the whole training, all"
        of_claim = pairs[pairs.claim.str.startswith(claim) & (pairs.n >= 4)]
        changes[scale] = of_claim.set_index(of_claim.pair.str.partition("+")[0])["mean"]
    most, *said = re.search(
        r"on MNIST by at most (\S+) points of mean accuracy, SGDM's on CIFAR-10 by (\S+); "
        r"RMSprop's and Adam's it slows by (\S+) and (\S+)\. ",
        TEXT,
    ).groups()
    on_mnist = changes["paper"].drop("radam")  # which collapses
    assert on_mnist.min() > 0
    assert f"{on_mnist.max():.2f}" == most
    sgdm, rmsprop, adam = changes["mid"][["sgdm", "rmsprop", "adam"]]
    assert [f"{sgdm:.2f}", f"{-rmsprop:.2f}", f"{-adam:.2f}"] == said


def test_with_weight_decay_the_arms_end_as_published():
    arms = pd.read_csv(ROOT / "results/tables/paper/settings.csv").set_index("arm")
    *said, within = re.search(
        r"SGDM ends as published, at (\S+) % and (\S+) % with LRD \((\S+), (\S+)\); RMSprop, Adam "
        r"and AMSGrad, a seed each, within (\S+)\. ",
        TEXT,
    ).groups()
    optimizers = ("sgdm", "rmsprop", "adam", "amsgrad")
    names = [name + method for name, method in product(optimizers, ("", "+lrd0.5"))]
    ours = arms.loc[[f"{name}+weight_decay=0.0005" for name in names]]
    published = arms.published[names]
    assert [f"{x:.2f}" for x in (*ours.last_mean[:2], *published[:2])] == said
    apart = abs(ours.last_mean.to_numpy() - published.to_numpy())
    assert max(apart[:2]) < 0.1
    assert f"{max(apart[2:]):.2f}" == within
    assert set(ours.n[2:]) == {1}


def test_best_against_best_is_the_tables():
    pairs = pd.read_csv(ROOT / "results/tables/paper/pairs.csv")
    number = r"(\S+) \[(\S+), (\S+)\]"
    said = re.search(
        r"held-out images choose, with LRD twice those without \(SGDM (\S+), Adam (\S+)\), "
        rf"accuracy differs by {number} and {number} points \(undecided\), SGDM's loss by less "
        r"than (\S+) nats \((\d+) seeds each\)",
        TEXT,
    ).groups()
    rates, better = [], []
    for name in ("SGDM", "Adam"):
        grid = pd.read_csv(ROOT / f"results/tables/paper/choice_{name.lower()}.csv")
        chosen = grid.loc[grid.groupby(grid.arm.str.contains("lrd"))["validation_mean"].idxmin()]
        assert not chosen.arm.str.contains("weight_decay").any()
        without, masked = chosen["lr"]
        assert masked == 2 * without
        rates.append(f"{masked:g}")
        claim = f"{name} with LRD is better than {name} on MNIST, each at its best rate"
        better.append(pairs[pairs.claim.str.startswith(claim)].iloc[0])
    numbers = [f"{one[key]:+.2f}" for one in better for key in ("mean", "low", "high")]
    claim = "SGDM with LRD has a lower test loss than SGDM on MNIST, each at its best rate"
    lower = pairs[pairs.claim.str.startswith(claim)].iloc[0]
    assert [*said] == [*rates, *numbers, f"{lower['margin']:g}", str(lower["n"])]
    assert -lower["margin"] < lower["low"] < lower["high"] < lower["margin"]
    assert {one["n"] for one in better} == {lower["n"]}


def test_the_bases_on_mnist_are_table_1s():
    (adam,) = re.findall(r"Adam's (\S+) is undecided\);", TEXT)
    table = pd.read_csv(ROOT / "results/tables/paper/table1.csv").query("experiment == 'mnist'")
    arms = table.set_index("arm")
    bases = arms.loc[["sgdm", "adam", "amsgrad"]]
    above = bases.last_mean - bases.published
    said = f"our SGDM, Adam and AMSGrad end {above.min():.1f} to {above.max():.1f} points above"
    assert said in TEXT
    assert adam == f"{arms.last_mean['adam+lrd0.5'] - arms.last_mean['adam']:+.2f}"
    base, masked = arms.loc["radam"], arms.loc["radam+lrd0.5"]
    numbers = f"LRD ({masked.last_mean:.1f} %) or without ({base.last_mean:.1f} %; {base.n} seeds)"
    assert numbers in TEXT
    assert base.n == masked.n


def test_the_language_models_numbers_are_the_pairs():
    pairs = pd.read_csv(ROOT / "results/tables/lite/pairs.csv").set_index("claim")
    table = pairs["mean"]
    others = re.search(
        r"ends (\S+) nats above the base at its own mean step with RMSprop, (\S+) with AdamW; "
        r"above its scale without the mask, (\S+) and (\S+)\. ",
        TEXT,
    )
    ranges = re.search(
        r"is (\S+) octaves beside RMSprop's (\S+) and (\S+) beside AdamW's (\S+): narrower at each",
        TEXT,
    )
    arms, bases = ("SkipUpdate", "Magma"), ("RMSprop", "AdamW")
    assert "over tensors and Magma, claimed to beat RMSprop and AdamW, end above both" in TEXT
    beats = "{} beats {}, each at its best rate"
    assert all(table[beats.format(arm, base)] > 0 for base in bases for arm in arms)
    same = [table[f"Magma at its best rate beats {base} at the same mean step"] for base in bases]
    scale = [
        table[f"Magma with {base} beats its scale alone, each at its best rate"] for base in bases
    ]
    said = [f"{same[0]:.2f}", f"{same[1]:.3f}", *(f"{loss:.2f}" for loss in scale)]
    assert said == [*others.groups()]
    widths = [pairs.loc[f"Magma's range of learning rates is wider than {b}'s"] for b in bases]
    assert [f"{w[side]:.1f}" for w in widths for side in SIDES] == [*ranges.groups()]
    assert all(w["n"] == 4 and max(map(float, w["differences"].split())) < 0 for w in widths)


def test_the_speed_is_the_benchmarks():
    table = pd.read_csv(ROOT / "results/benchmark.csv").set_index("what")
    (said,) = re.findall(
        r"takes (\S+) × torch's fastest without for Adam and (\S+) × for SGDM over 21 M "
        r"parameters, (\S+) × and (\S+) × over 1\.8 M",
        TEXT,
    )
    measured = []
    for size, name in product(("21 M", "1.8 M"), ("Adam", "SGDM")):
        what = rf"{name}\+LRD / torch's {name} \(.*\), {size} parameters"
        measured += table[table.index.str.fullmatch(what)]["value"].tolist()
    assert [f"{value:.2f}" for value in measured] == [*said]
