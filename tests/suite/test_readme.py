"""The README: its Python runs as it stands there, and its numbers are those of the results."""

import re
from itertools import product, takewhile
from pathlib import Path

import pandas as pd

from experiments.record.reader import read_runs
from scripts.verdicts import regime

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
        known |= {(row[0], scale): row for row in rows}
    shown = rows_of(README, "Claim")
    assert len(shown) > 5
    for claim, scale, published, here, n, verdict in shown:
        row = known[claim.removesuffix(" ‡"), scale]
        assert [published, here, n, verdict] == [row[6], row[4], row[3], row[2]]
        assert claim.endswith("‡") == row[1].endswith("‡")


def test_only_rmsprops_training_tells_the_mask_from_the_step():
    """Of all that the pictures show; and the toy."""
    slower: list[str] = []  # without weight decay and with it, and at mid
    for scale, test in (("paper", "mean of the last ten epochs"), ("mid", "last epoch")):
        assert f"](results/figures/{scale}/share.png)" in README
        table = pd.read_csv(ROOT / f"results/tables/{scale}/share.csv").query("n >= 4")
        shown = "training accuracy over all epochs (%)", f"test accuracy, {test} (%)"
        told = table[table.statistic.isin(shown) & (table.rest_low * table.rest_high > 0)]
        assert {*told.statistic} == {shown[0]}
        assert told.optimizer.str.match(r"rmsprop(\+weight_decay=0.0005)?$").all()
        slower += [f"{-mean:.2f}" for mean in told.rest_mean]
        if scale == "mid":
            accuracy = table[table.statistic == shown[1]]
            assert round(accuracy[["rest_low", "rest_high"]].abs().max().max()) == 2
            assert "undecided, accuracy on CIFAR-10 with intervals to ±2 points." in TEXT
            (radam,) = table[table.statistic == shown[0]].query("optimizer == 'radam'").iloc
            ends = [f"{radam[f'share{end}']:.0f}" for end in ("", "_low", "_high")]
            said = "{} % [{}, {}] of what LRD adds to RAdam's training on CIFAR-10".format(*ends)
            assert f"Half the rate makes {said}" in TEXT
    words = "slower with the mask (by {} points on MNIST, {} with decay, {} on CIFAR-10)"
    assert words.format(*slower) in TEXT
    ((toy, rate),) = re.findall(r", (\d+ % \[\d+, \d+\]) in the toy at rate ([\d.]+)\. ", TEXT)
    table = (ROOT / "results/tables/paper/figure4.md").read_text()
    (line,) = (line for line in table.splitlines() if f"p = 0.5 at rate {rate} less" in line)
    assert toy in line
    verdicts = pd.read_csv(ROOT / "results/tables/paper/verdicts.csv").set_index("claim").verdict
    claim = "In the toy example, LRD leads more starts to the global minimum, rate "
    assert [verdicts[claim + of] for of in ("0.05", "0.1", "0.01")] == [
        "supported", "supported", "no effect"
    ]  # fmt: skip
    assert "In the toy LRD helps at rates 0.05 and 0.1, not at 0.01." in TEXT
    pairs = pd.read_csv(ROOT / "results/tables/paper/pairs.csv").set_index("claim")
    half = "With weight decay, SGDM with LRD is better than SGDM at half the rate on MNIST"
    faster = (
        "{0} with LRD trains faster than {0} at half the rate on MNIST (mean training accuracy)"
    )
    margins = re.search(
        r"SGDM and AMSGrad train as fast on MNIST, within ±(\S+) points, and with "
        r"decay SGDM's accuracy gains what LRD adds, within ±(\S+)\. ",
        TEXT,
    ).groups()
    claims = f"{half} (mean of the last ten epochs)", *map(faster.format, ("SGDM", "AMSGrad"))
    for claim, margin in zip(claims, (margins[1], margins[0], margins[0]), strict=True):
        less = pairs.loc[claim]
        assert -float(margin) < less["low"] < less["high"] < float(margin)


def test_the_changes_of_training_speed_are_the_pairs():
    pairs = pd.read_csv(ROOT / "results/tables/paper/pairs.csv")
    claim = "On MNIST, LRD's training accuracy is higher over the whole training, all optimizers"
    changes = pairs[pairs.claim == claim].set_index("pair")["mean"].drop("radam+lrd0.5 − radam")
    said = f"faster on MNIST, by {changes.min():.2f} to {changes.max():.2f} points of mean accuracy"
    assert f"{said}, and undecided on CIFAR-10. " in TEXT
    verdicts = pd.read_csv(ROOT / "results/tables/mid/verdicts.csv").set_index("claim")
    assert verdicts.verdict[claim.replace("MNIST", "CIFAR-10")] == "undecided"


def test_with_weight_decay_the_arms_end_near_the_published():
    arms = pd.read_csv(ROOT / "results/tables/paper/settings.csv").set_index("arm")
    said = re.search(
        r"SGDM \(last ten epochs (\S+) %, with LRD (\S+); published (\S+), (\S+)\) and Adam "
        r"\((\S+), (\S+); (\S+), (\S+)\) end near the paper's, RMSprop and "
        r"AMSGrad (\S+) to (\S+) points off; of their gains SGDM's is decided\. ",
        TEXT,
    ).groups()
    numbers, off = [], []
    for name in ("sgdm", "adam", "rmsprop", "amsgrad"):
        names = [name, f"{name}+lrd0.5"]
        ours = arms.loc[[f"{name}+weight_decay=0.0005" for name in names]]
        assert {*ours.n} <= {5, 6}
        ends, published = [*ours.last10_mean], [*arms.published[names]]
        if name in ("sgdm", "adam"):
            numbers += [f"{number:.2f}" for number in (*ends, *published)]
        else:
            off += [abs(end - of) for end, of in zip(ends, published, strict=True)]
    assert [*numbers, f"{min(off):.1f}", f"{max(off):.1f}"] == [*said]
    claims = pd.read_csv(ROOT / "results/tables/paper/verdicts.csv").set_index("claim").verdict
    gain = (
        "With weight decay, LRD improves {}'s test accuracy on MNIST (mean of the last ten epochs)"
    )
    decided = [name for name in ("SGDM", "Adam", "RMSprop", "AMSGrad")
               if claims[gain.format(name)] != "undecided"]  # fmt: skip
    assert decided == ["SGDM"]


def test_best_against_best_is_the_tables():
    pairs = pd.read_csv(ROOT / "results/tables/paper/pairs.csv")
    number = r"(\S+) \[(\S+), (\S+)\]"
    said = re.search(
        r"\(MNIST, 40 epochs: no decay; SGDM (\S+), with LRD (\S+); Adam (\S+), with LRD "
        rf"(\S+)\) LRD changes accuracy by {number} and {number} points \((\d+) seeds, "
        r"undecided\), SGDM's test loss by under (\S+) nats",
        TEXT,
    ).groups()
    rates, better = [], []
    for name in ("SGDM", "Adam"):
        grid = pd.read_csv(ROOT / f"results/tables/paper/choice_{name.lower()}.csv")
        chosen = grid.loc[grid.groupby(grid.arm.str.contains("lrd"))["validation_mean"].idxmin()]
        assert not chosen.arm.str.contains("weight_decay").any()
        rates += [f"{rate:g}" for rate in chosen["lr"]]
        claim = f"{name} with LRD is better than {name} on MNIST, each at its best rate"
        better.append(pairs[pairs.claim.str.startswith(claim)].iloc[0])
    numbers = [f"{one[key]:+.2f}" for one in better for key in ("mean", "low", "high")]
    claim = "SGDM with LRD has a lower test loss than SGDM on MNIST, each at its best rate"
    lower = pairs[pairs.claim.str.startswith(claim)].iloc[0]
    assert [*said] == [*rates, *numbers, str(lower["n"]), f"{lower['margin']:g}"]
    assert -lower["margin"] < lower["low"] < lower["high"] < lower["margin"]
    assert {one["n"] for one in better} == {lower["n"]}


def test_the_bases_on_mnist_are_table_1s():
    table = pd.read_csv(ROOT / "results/tables/paper/table1.csv").query("experiment == 'mnist'")
    arms = table.set_index("arm")
    bases = arms.loc[["sgdm", "adam", "amsgrad"]]
    above = bases.last_mean - bases.published
    said = f"SGDM, Adam and AMSGrad end {above.min():.1f} to {above.max():.1f} points above the"
    assert said in TEXT
    base, masked = arms.loc["radam"], arms.loc["radam+lrd0.5"]
    numbers = f"LRD ({masked.last_mean:.1f} %) or without ({base.last_mean:.1f} %; {base.n} seeds)"
    assert numbers in TEXT
    assert base.n == masked.n


def test_accuracy_is_the_means_over_optimizers():
    rows = {}
    for scale, data in (("paper", "MNIST"), ("mid", "CIFAR-10")):
        pairs = pd.read_csv(ROOT / f"results/tables/{scale}/pairs.csv").set_index("claim")
        rows[data] = pairs.loc[f"LRD improves test accuracy on {data} (mean over optimizers)"]
        assert not rows[data].pair.count("radam")
    verdicts = pd.read_csv(ROOT / "results/tables/paper/verdicts.csv").set_index("claim")
    assert verdicts.alone[rows["MNIST"].name] == "published gain excluded"
    ours, papers = rows["MNIST"][["mean", "published"]]
    gain = f"the mean gain is {ours:+.2f}, and the published {papers:+.2f} is excluded. "
    assert f"against our bases {gain}" in TEXT
    lost = f"SGDM, RMSprop, Adam and AMSGrad lose {-rows['CIFAR-10']['mean']:.2f} points"
    assert f"{lost} in the mean; each published gain is excluded (alone" in TEXT
    arms = pd.read_csv(ROOT / "results/tables/mid/table1.csv").query("experiment == 'cifar10'")
    arms = arms.set_index("arm")
    said = f"SGDM at {arms.last_mean.sgdm:.0f} %, the paper's at {arms.published.sgdm:.0f} %)"
    assert f"bases converged, {said}" in TEXT
    verdicts = pd.read_csv(ROOT / "results/tables/mid/verdicts.csv").set_index("claim")
    for name in ("SGDM", "RMSprop", "Adam", "AMSGrad"):
        verdict = verdicts.verdict[f"LRD improves {name}'s test accuracy on CIFAR-10"]
        assert verdict in ("published gain excluded", "contradicted")


def test_what_has_not_converged_on_cifar_10_is_named():
    table = regime.table(read_runs(ROOT / "results/runs", scale="mid"))
    short = {(row[1], row[2]): row for row in table.rows if row[-1] == "no"}
    assert {name for name, _ in short} == {"RAdam", "RMSprop"}
    clean = float(short["RMSprop", "LRD"][4].split()[0])
    assert f"RMSprop with LRD is short of convergence ({clean:.1f} % of clean training" in TEXT
    arms = pd.read_csv(ROOT / "results/tables/mid/controls.csv").query("experiment == 'cifar10'")
    base, masked, half = arms.set_index("arm").loc[["radam", "radam+lrd0.5", "radam+lr0.5"]].iloc
    means = f"{masked.last_mean:.1f} with LRD, {half.last_mean:.1f} at half the rate"
    assert f"so is RAdam's base ({base.last_mean:.1f} %; {means}; {base.n} seeds)" in TEXT
    assert base.n == masked.n == half.n


def test_the_language_models_numbers_are_the_pairs():
    pairs = pd.read_csv(ROOT / "results/tables/lite/pairs.csv").set_index("claim")
    table = pairs["mean"]
    others = re.search(
        r"Magma also at equal mean step, by (\S+) nats with RMSprop, (\S+) with "
        r"AdamW \(undecided\)\. ",
        TEXT,
    )
    ranges = re.search(
        r"is (\S+) octaves beside RMSprop's (\S+) and (\S+) beside AdamW's (\S+) \(undecided\)\. ",
        TEXT,
    )
    arms, bases = ("SkipUpdate", "Magma"), ("RMSprop", "AdamW")
    assert "end worse than the base they wrap, Magma also at equal mean step" in TEXT
    beats = "{} beats {}, each at its best rate"
    assert all(table[beats.format(arm, base)] > 0 for base in bases for arm in arms)
    same = [table[f"Magma at its best rate beats {base} at the same mean step"] for base in bases]
    said = [f"{same[0]:.2f}", f"{same[1]:.3f}"]
    assert said == [*others.groups()]
    widths = [pairs.loc[f"Magma's range of learning rates is wider than {b}'s"] for b in bases]
    assert [f"{w[side]:.1f}" for w in widths for side in SIDES] == [*ranges.groups()]
    cautious = "Cautious beats AdamW, each at its best rate"
    assert f"Cautious ends {-table[cautious]:.3f} nats below AdamW (alone: supported)" in TEXT
    verdicts = pd.read_csv(ROOT / "results/tables/lite/verdicts.csv").set_index("claim")
    assert verdicts.alone[cautious] == "supported"
    assert verdicts.verdict[cautious] == "undecided"


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


def test_the_time_of_rules_around_an_optimizer_is_the_benchmarks():
    text = " ".join((ROOT / "lrd/README.md").read_text().split())
    (said,) = re.findall(
        r"and (\S+) to (\S+) times the time of a fused step; the rules `Noise`, `Cautious` and "
        r"`Magma` below take (\S+) to (\S+) times it",
        text,
    )
    table = pd.read_csv(ROOT / "results/benchmark.csv")
    family = table[table["part"] == "family"].set_index("what")["value"]
    dear = family.index.str.match("(Noise|Cautious|Magma) around")
    ends = [end for of in (family[~dear], family[dear]) for end in (of.min(), of.max())]
    assert [f"{end:.1f}" for end in ends] == [*said]
