"""The catalogue's arms are those that its sweeps make."""

import functools
from itertools import product

from experiments.identity import arm_name, config_hash, run_folder
from helpers.commands import ROOT
from scripts import plan
from scripts.catalogue import ITEMS
from tests.scripts.test_tables import TABLES


@functools.cache
def configurations(sweep):
    return plan.configurations(sweep, ["scale=paper", "seed=0", "runs_dir=x"])


def test_the_sweeps_make_the_arms_of_the_tables_and_figures():
    items = [item for item in ITEMS.values() if item.experiments and item.in_report]
    assert len(items) == len(list((ROOT / "conf" / "sweep").glob("*.yaml")))
    for item in items:
        configs = configurations(item.sweep)
        runs = [(config["experiment"], arm_name(config)) for config in configs]
        assert sorted(runs) == sorted(product(item.experiments, item.arms()))


def test_runs_that_the_tables_share_are_one_run():
    seen = {}
    for name in TABLES:
        for config in configurations(ITEMS[name].sweep):
            if config["experiment"] == "cifar10":
                folder = run_folder(config)
                assert seen.setdefault(folder, config_hash(config)) == config_hash(config)
