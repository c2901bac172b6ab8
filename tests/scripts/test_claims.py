"""The file of claims: what it may say, and that it agrees with the paper and the sweeps."""

import pytest

from helpers.claims import HEAD, ONE
from scripts.gather import published
from scripts.verdicts.claims import ClaimError, read_claims


def read(folder, text):
    """The claims of a text in the form of conf/claims.yaml."""
    path = folder / "claims.yaml"
    path.write_text(HEAD + text)
    return read_claims(path)


def test_a_claim_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(ClaimError, match="duplicate key"):
        read(tmp_path, ONE + ONE)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("above: 0", "above: 0\n    below: 1", "must say either above or below"),
        (
            "last:test_accuracy",
            "final:test_accuracy",
            "statistic must be last, last10, mean",
        ),
        ("[[adam+lrd0.5, adam, 0.27]]", "[[adam]]", r"a pair is \[arm, arm\]"),
        ("pairs: [[adam+lrd0.5, adam, 0.27]]", "at_least: 2, pairs: [[a, b]]", "at_least must be"),
        ("source:", "sweeps: table1\n    source:", "unknown keys sweeps"),
        ("stated: 2026-11-20", "stated: yesterday", "stated must be as 2026-11-25 or"),
        ("    stated: 2026-11-20\n", "", "lacks stated"),
        ("{pairs: [[adam+lrd0.5, adam, 0.27]]}", "{above: 1}", "either pairs or a trend"),
        ("[[adam+lrd0.5, adam, 0.27]]", "[]", r"are lists of lists of arms, got \[\]"),
        ("[[adam+lrd0.5, adam, 0.27]]", "5", "are lists of lists of arms, got 5"),
        ("[[adam+lrd0.5, adam, 0.27]]", "[null]", "are lists of lists of arms, got .None"),
        ("pairs: [[adam+lrd0.5, adam, 0.27]]", "trend: null", "lists of arms, got None"),
        ("pairs: [[adam+lrd0.5, adam, 0.27]]", "trend: [[adam, sgdm]]", "of three arms or more"),
        ("experiment: mnist", "experiment: mnits", "must be one of .*mnist.*, got 'mnits': add a"),
        ("test_accuracy", "accuracy", r"of mnist \(.*test_accuracy, .*\).*, got 'last:accuracy'"),
        (
            "adam+lrd0.5",
            "adm+lrd0.5",
            "optimizer of arm adm.* one of adam.*, got 'adm': add",
        ),
        ("source:", "sweep: table9\n    source:", "sweep must be one of .*table1.*, got 'table9'"),
        ("source:", "sweep: table2\n    source:", "experiment must be one of cifar10, got 'mnist'"),
        ("    source: Table 1\n", "", "lacks source"),
        ("source:", "judged_at: lite\n    source:", "judged_at must be a list of .*, got 'lite'"),
        ("source:", "judged_at: [papr]\n    source:", r"must be a list of .*, got \['papr'\]"),
        ("    claims:", "    cliams:", "unknown keys cliams"),
        ("2026-11-20\n    stat", "2026-11-20T12:00+09:00\n    stat", "stated must be as"),
        ("2026-11-20\n    stat", "20261120\n    stat", "stated must be as"),
        ("[[adam+lrd0.5, adam, 0.27]]", "[[97.9, adam]]", r"a pair is \[arm, arm\]"),
        ("pairs:", 'at_least: "2", pairs:', "at_least must be in 1 … 1, got 2"),
        ("above: 0", "above: 0.5x", "above must be a number, got '0.5x'"),
        ("margin: 0.1", 'margin: "0,1"', "margin must be a number of at least 0, got '0,1'"),
        ("above: 0", "above: 0.5", "a margin lies around 0, above: 0.5 takes margin: null"),
        ("margin: 0.1", "margin: -0.1", "margin must be a number of at least 0, got -0.1"),
        ("0.27]]", "true]]", "published must be a number, got True"),
        ("adam, 0.27]]", "true]]", "what is compared with must be a number, got True"),
        ("adam, 0.27]]", ".nan]]", "what is compared with must be a number, got nan"),
        (
            "pairs: [[adam+lrd0.5, adam, 0.27]]",
            'seeds: "8", trend: [[adam, adam+lrd0.5, sgdm]]',
            "seeds must be a number, got '8'",
        ),
        ("{pairs: [[adam+lrd0.5, adam, 0.27]]}", "null", "must have keys .*, got None"),
        ("above: 0", "above: 0\n    omnibus: All\n    exploratory: true", "not exploratory"),
        (
            "findings: 0.1",
            "findings: 0.1\nlevel: 0.1",
            "unknown keys level; known: .*false_findings",
        ),
        ("findings: 0.1", "findings: wide", "must be a number.*, got 'wide'"),
        ("mnist: 0.15", "mnist: wide", "must be a number.*, got 'wide'"),
        ("mnist: 0.2", "mnist: wide", "must be a number.*, got 'wide'"),
        ("planning_spread: {mnist: 0.15, digits: 1}", "planning_spread:", "planning_spread must"),
        ("another_base: {mnist: 0.2, cifar10: 0.2}", "another_base: 0.2", "another_base must"),
        ("cost: {claims: {}}", "cost: {}", "'cost' lacks claims"),
        ("cost: {claims: {}}", "cost: {claims: []}", "the claims of cost must"),
        ("cost: {claims: {}}", "cost: {claims: {}, bound: 1}", "unknown keys bound"),
        (f"families:\n{ONE}", "families: []\n", r"families must have a key for each, got \[\]"),
    ],
)
def test_what_cannot_be_tested_is_refused(tmp_path, old, new, message):
    assert old in HEAD + ONE
    (tmp_path / "claims.yaml").write_text((HEAD + ONE).replace(old, new))
    with pytest.raises(ClaimError, match=message):
        read_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize(
    "claim",
    [
        "{pairs: [[[adam+lrd0.3, adam+lrd0.5], adam]]}",
        "{pairs: [[adam, 97]]}",
        "{trend: [[adam, adam+lrd0.5, sgdm]], seeds: 8}",
        "{statistic: mean:test_accuracy, pairs: [[sgdm+lrd0.5, sgdm]]}",
        "{above: 1, margin: null, pairs: [[sgdm+lrd0.5, sgdm]]}",
    ],
)
def test_a_mean_over_claims_is_of_pairs_that_are_alike(tmp_path, claim):
    more = ONE.replace("above: 0", "above: 0\n    omnibus: All gain")
    with pytest.raises(ClaimError, match="'All gain': the mean of a family's claims is of pairs"):
        read(tmp_path, f"{more.rstrip()}\n      Another: {claim}\n")


def test_a_family_without_claims_is_refused(tmp_path):
    with pytest.raises(ClaimError, match="'family' must have claims, got None"):
        read(tmp_path, ONE.partition("claims:")[0] + "claims:\n")


def test_an_arm_that_the_sweep_does_not_make_is_refused(tmp_path):
    """Without a sweep, it may be an arm of the user's own."""
    text = ONE.replace("adam+lrd0.5", "adam+lrd0.4")
    assert read(tmp_path, text).claims[0].arms == ["adam+lrd0.4", "adam"]
    with pytest.raises(ClaimError, match=r"arm must be one of .*, got 'adam\+lrd0.4': correct it"):
        read(tmp_path, text.replace("source:", "sweep: table1\n    source:"))


def test_published_differences_are_those_of_the_papers_tables():
    """Every pair that carries a number, worked out from results/paper."""
    numbers = {}
    for item in ("table1", "table2", "table3", "table4", "figure8"):
        for row in published(item).itertuples():
            numbers[row.experiment, f"last:{row.metric}", row.arm] = row.value
    checked = 0
    for claim in read_claims().claims:
        for pair in claim.comparisons:
            if getattr(pair, "published", None) is None:
                continue
            sides = [
                sum(numbers[pair.experiment, pair.statistic, arm] for arm in arms) / len(arms)
                for arms in (pair.arms, pair.than)
            ]
            # two decimals of percent, or three of a fraction
            tolerance = 0.0006 if pair.experiment == "pspnet" else 0.0051
            assert pair.published == pytest.approx(sides[0] - sides[1], abs=tolerance), pair.label
            checked += 1
    assert checked > 40
