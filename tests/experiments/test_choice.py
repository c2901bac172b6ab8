"""On MNIST, rate and weight decay are chosen by an experiment whose test images are held out."""

from itertools import product

import pytest

from experiments.choice import NoChoice, criterion
from experiments.configuration import ConfigError
from experiments.record.reader import read_runs
from experiments.tasks import classification, language

BEST = ("experiment=mnist", "optimizer=sgdm", "best_rate=true")


@pytest.fixture
def mnist_run(make, mnist_root):
    return lambda *words: make(*words, f"data.root={mnist_root}")


def test_held_out_images_choose_rate_and_weight_decay(mnist_run, tmp_path):
    rates, decays = ("0.003", "0.05"), ("0", "0.1")
    ends = {}
    for rate, decay in product(rates, decays):  # the whole grid, or none
        words = [f"optimizer.lr={rate}", *([f"+optimizer.weight_decay={decay}"] * (decay != "0"))]
        with pytest.raises(NoChoice, match="no best rate of sgdm: it needs runs at several rates"):
            mnist_run(*BEST, "seed=10")
        _, folder = mnist_run("experiment=mnist_choice", "optimizer=sgdm", *words)
        (run,) = [run for run in read_runs(tmp_path, scale="smoke").runs if run.folder == folder]
        assert run.info["data"]["name"] == "MNIST, 5,000 training images held out"
        ends[float(rate), float(decay)] = run.metrics["test_accuracy"][-1]
    _, folder = mnist_run(*BEST, "seed=10")
    (best,) = [run for run in read_runs(tmp_path, scale="smoke").runs if run.folder == folder]
    assert folder.parent.name == "sgdm+best"
    optimizer = best.config["optimizer"]
    found = optimizer["lr"], optimizer.get("weight_decay", 0.0)
    assert found == max(ends, key=ends.get)
    assert "held out" not in best.info["data"]["name"]
    assert mnist_run(*BEST, "seed=10")[0] == "skipped"
    for key, value in (("lr", 0.5), ("weight_decay", 0.1)):
        add = "+" if key == "weight_decay" else ""
        with pytest.raises(ConfigError, match=rf"chooses optimizer\.{key}: leave one of them out"):
            mnist_run(*BEST, "seed=10", f"{add}optimizer.{key}={value}")


def test_a_mean_step_that_is_not_recorded_is_no_rate_for_the_base(mnist_run):
    grid = ("experiment=mnist_choice", "optimizer=sgdm", "lrd.enabled=true", "lrd.p=0.3")
    for rate in ("0.003", "0.05"):
        mnist_run(*grid, f"optimizer.lr={rate}")
        mnist_run(*grid[:2], "update.magma=0.5", f"optimizer.lr={rate}")
    _, folder = mnist_run(*BEST, "step_of=lrd0.3", "seed=10")
    (run,) = [
        run for run in read_runs(folder.parents[3], scale="smoke").runs if run.folder == folder
    ]
    assert run.config["optimizer"]["lr"] == 0.05 * 0.3
    for rate in ("0.00312345", "0.051234567"):  # another setting stands behind the method's word
        mnist_run(*grid, f"optimizer.lr={rate}", "batch_size=64")
    _, folder = mnist_run(*BEST, "step_of=lrd0.3", "seed=10", "batch_size=64")
    assert folder.parent.name == "sgdm+step_of_lrd0.3+best+batch_size=64"
    _, folder = mnist_run(*BEST, "lrd.enabled=true", "lrd.p=0.3", "seed=10", "batch_size=64")
    (run,) = [
        run for run in read_runs(folder.parents[3], scale="smoke").runs if run.folder == folder
    ]
    assert run.config["optimizer"]["lr"] == 0.051234567  # a rate of the grid, to the last digit
    with pytest.raises(NoChoice, match=r"no mean step of sgdm.magma0.5: .* do not record it"):
        mnist_run(*BEST, "step_of=magma0.5", "seed=10")


def test_what_chooses_for_another_is_not_chosen_for(mnist_run):
    with pytest.raises(ConfigError, match="mnist_choice chooses for another experiment"):
        mnist_run("experiment=mnist_choice", "best_rate=true", "seed=10")


def test_test_images_never_choose():
    assert criterion("mnist", classification) is None
    assert criterion("mnist_choice", classification) == "test_accuracy"
    assert criterion("language", language) == "val_loss"


def test_an_experiment_without_images_to_choose_by_is_refused(make):
    with pytest.raises(ConfigError, match="there is no experiment digits_choice"):
        make("best_rate=true", "seed=10")
