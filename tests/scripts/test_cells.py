"""What tables tell beside means."""

import pytest

from experiments.record.reader import read_runs
from helpers.synthetic import make_run, read_experiment
from scripts.catalogue import ITEMS
from scripts.tables.__main__ import table_of
from scripts.tables.cells import far_seeds


@pytest.mark.parametrize(
    ("lasts", "far"),
    [
        ([98.0, 98.1, 98.2, 98.1, 98.0], []),
        ([98.0, 98.1, 98.2, 98.1, 95.0], ["adam seed 4 (95.00)"]),
        ([99.9, 98.0, 98.1, 98.2, 98.1, 95.0], ["adam seed 0 (99.90)", "adam seed 5 (95.00)"]),
        ([98.0, 98.1, 98.2, 95.0], []),  # too few to say so
        ([98.1, 98.1, 98.1, 98.12, 98.15], []),  # most are alike
    ],
)
def test_seeds_far_from_the_others_are_named(tmp_path, lasts, far):
    for seed, last in enumerate(lasts):
        make_run(tmp_path, "adam", seed, [50.0, last])
    experiment = read_experiment(tmp_path, "paper", "mnist", ["adam"])
    assert far_seeds(experiment["adam"], experiment.task.RESULT, experiment.result) == far
    notes = "\n".join(table_of(ITEMS["table1"], read_runs(tmp_path, scale="paper"), "paper").notes)
    words = (
        "MNIST, FCNet: in the means, but far from their arm's others (modified z-score above 3.5"
    )
    assert (words in notes) == bool(far)
    assert all(seed in notes for seed in far)
