"""A claim about the mean of a family: what it is over, and that it comes before the others."""

import numpy as np
import pytest

from helpers.claims import ONE, STEADY, family, make_pairs
from scripts.decide import decided
from scripts.verdicts import text as verdicts


@pytest.mark.usefixtures("unchecked")
def test_a_mean_over_optimizers_is_of_several(runs, verdicts_of):
    """SGDM's base is far from the paper's, RAdam's collapsed, which leaves Adam alone."""

    def collapse(arm):
        for path in runs.glob(f"paper/mnist/{arm}/*/metrics.csv"):
            path.write_text(path.read_text().replace(",0.5,", ",1.5,"))  # the last epoch's loss

    make_pairs(runs, [0.3 + step for step in STEADY])
    make_pairs(runs, [0.3 + step for step in STEADY], 90.0, ("sgdm", "sgdm+lrd0.5"))
    make_pairs(runs, [60.0 + step for step in STEADY], 20.0, ("radam", "radam+lrd0.5"))
    collapse("radam")
    lines = """
      Adam: {pairs: [[adam+lrd0.5, adam, 0.27]]}
      SGDM: {pairs: [[sgdm+lrd0.5, sgdm, 0.39]]}
      RAdam: {pairs: [[radam+lrd0.5, radam, 0.24]]}"""
    mean, adam, *_ = verdicts_of(family(lines, more="\n    omnibus: All gain"))
    assert (mean.verdict, adam.verdict) == ("not comparable", "supported")
    assert verdicts.evidence(mean).endswith("] points (without RAdam)")
    assert verdicts.evidence(adam).endswith("] points")
    assert mean.alone.startswith("supported")
    assert mean.tested[0].measured.differences == pytest.approx([0.3 + step for step in STEADY])
    assert "fewer than two of its bases are the paper's" in verdicts.reasons([mean])[0]
    for arm, alone in (("sgdm", ""), ("sgdm+lrd0.5", mean.alone)):  # of a pair, then of both sides
        for record in runs.glob(f"paper/mnist/{arm}/*/run.json"):
            record.write_text(record.read_text().replace("Some CPU", "Another CPU"))
        mean, *_ = verdicts_of(family(lines, more="\n    omnibus: All gain"))
        assert (mean.verdict, mean.alone) == ("not comparable", alone)
    collapse("sgdm")
    mean, *_ = verdicts_of(family(lines, more="\n    omnibus: All gain"))
    assert (mean.verdict, mean.alone) == ("not comparable", "")


def test_a_family_is_corrected_together_and_after_the_claim_about_its_mean(runs, verdicts_of):
    """Five optimizers of which one gains: alone supported, beside others by Holm, and not while
    the claim about their mean is undecided."""
    arms = ("sgdm", "rmsprop", "amsgrad", "adam")
    for number, arm in enumerate(arms):
        steps = [(-1) ** (seed + number) * 0.1 * (1 + seed % 3) for seed in range(6)]
        gains = [0.3 + step / 8 for step in steps] if arm == "adam" else steps
        make_pairs(runs, gains, 98.0, (arm, f"{arm}+lrd0.5"))
    lines = "".join(f"\n      {arm} gains: {{pairs: [[{arm}+lrd0.5, {arm}]]}}" for arm in arms)
    alone = verdicts_of(ONE.replace(", 0.27", ""))[0]
    *_, among = verdicts_of(family(lines))
    mean, *_, after = verdicts_of(family(lines, more="\n    omnibus: All gain"))
    assert (alone.verdict, alone.adjusted) == ("supported", alone.p)
    assert among.p == after.p == alone.p
    assert among.adjusted == pytest.approx(4 * alone.p)
    assert mean.claim.text == "All gain"
    assert mean.tested[0].measured.differences == pytest.approx(
        [np.mean([*row]) for row in zip(*[
            [(-1) ** (seed + n) * 0.1 * (1 + seed % 3) for seed in range(6)] for n in range(3)
        ], [0.3 + (-1) ** (seed + 3) * 0.1 * (1 + seed % 3) / 8 for seed in range(6)], strict=True)]
    )  # fmt: skip
    assert after.adjusted == max(mean.p, among.adjusted)
    assert verdicts.word(after) == "undecided (alone: supported)"
    assert not decided(after)  # more seeds may decide it yet
