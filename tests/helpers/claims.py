"""Claims in the form of conf/claims.yaml, and runs of two arms that they are judged on."""

from helpers.synthetic import make_run

HEAD = """false_findings: 0.1
margins_stated: 2026-11-20
planning_spread: {mnist: 0.15, digits: 1}
another_base: {mnist: 0.2, cifar10: 0.2}
cost: {claims: {}}
families:
"""


def family(claims, experiment="mnist", name="family", more=""):
    """A family's text: accuracies above 0, unless its claims say otherwise."""
    return f"""
  {name}:
    experiment: {experiment}
    source: Table 1
    stated: 2026-11-20
    statistic: last:test_accuracy
    margin: 0.1
    above: 0{more}
    claims:{claims}
"""


ONE = family("""
      LRD helps Adam: {pairs: [[adam+lrd0.5, adam, 0.27]]}""")
PUBLISHED = 97.88  # of Adam's base
STEADY = (0.0, 0.01, -0.01, 0.005, -0.005, 0.002, -0.002, 0.008)


def make_pairs(runs, differences, base=PUBLISHED, arms=("adam", "adam+lrd0.5"), **more):
    """Runs of two arms that end so far apart, a seed each; the base varies a little too."""
    for seed, difference in enumerate(differences):
        last = base + STEADY[seed % 8] / 3
        make_run(runs, arms[0], seed, [50.0, last], **more)
        make_run(runs, arms[1], seed, [50.0, last + difference], **more)
