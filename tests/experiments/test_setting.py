"""What a run is made of is what its arm's name says."""

import hashlib
import sys
import types

import pytest
import torch
from safetensors.torch import save_file

import lrd
from data.batches import DataError, Dataset
from experiments.configuration import ConfigError
from experiments.setting import _weights, make_optimizer
from experiments.validate import resolve
from helpers.commands import configure
from models.weights import load_weights


class ForgetsMomentum(torch.optim.SGD):
    """Masks nothing, whatever it is told."""

    def __init__(self, params, keep_prob, seed, compile, **hyper):
        super().__init__(params, **hyper)


class OneMaskForEver(lrd.SGD):
    """Draws the mask of another seed than the run's."""

    def __init__(self, params, seed, **more):
        super().__init__(params, seed=seed + 1, **more)


@pytest.fixture
def own(monkeypatch):
    """A module of one's own with the given names."""

    def make(**names):
        monkeypatch.setitem(sys.modules, "own_module", types.SimpleNamespace(**names))

    return make


@pytest.mark.parametrize("optimizer", [ForgetsMomentum, OneMaskForEver])
def test_an_arm_that_says_lrd_is_masked_by_the_runs_masks(own, optimizer):
    own(optimizer=optimizer)
    config = resolve(configure("optimizer=sgdm", "lrd.enabled=true", runs_dir="x"))
    make_optimizer(config, torch.nn.Linear(2, 2))
    config["optimizer"]["lrd"] = {"_target_": "own_module.optimizer"}
    with pytest.raises(
        ConfigError, match="of 256 parameters in a first step, where its mask keeps"
    ):
        make_optimizer(config, torch.nn.Linear(2, 2))


def test_a_base_arm_is_not_masked(own):
    own(optimizer=lrd.SGD)
    config = configure("optimizer=sgdm", runs_dir="x")
    config["optimizer"]["base"] = {"_target_": "own_module.optimizer"}
    with pytest.raises(ConfigError, match="where the base arm moves 256"):
        make_optimizer(config, torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["sgdm", "rmsprop", "adam", "amsgrad", "adamw", "radam"])
@pytest.mark.parametrize("words", [[], ["lrd.enabled=true"], ["lrd.enabled=true", "lrd.p=0.1"]])
@pytest.mark.parametrize("rate", ["1e-9", "10"])
def test_the_suites_own_optimizers_are_what_their_arms_say(name, words, rate):
    words = [f"optimizer={name}", f"optimizer.lr={rate}", *words]
    config = resolve(configure(*words, runs_dir="x"))
    assert make_optimizer(config, torch.nn.Linear(2, 2)).param_groups[0]["lr"] == float(rate)


def test_a_file_without_a_masked_class_gets_the_wrapper():
    config = resolve(configure("optimizer=sgdm", "lrd.enabled=true", "lrd.p=0.25", runs_dir="x"))
    del config["optimizer"]["lrd"]
    optimizer = make_optimizer(config, torch.nn.Linear(2, 2))
    assert type(optimizer) is lrd.LearningRateDropout
    assert type(optimizer.optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["momentum"] == 0.9
    assert optimizer.param_groups[0]["keep_prob"] == 0.25


@pytest.mark.parametrize("key", ["name", "format"])
def test_data_that_do_not_say_where_they_are_from_are_refused_before_training(
    make, monkeypatch, tmp_path, key
):
    provenance = {"name": "mine", "format": "drawn", "train": 10, "test": 10}
    del provenance[key]
    images, labels = torch.zeros(10, 1, 28, 28), torch.arange(10)

    def digits(subset, test_subset, standardised):
        return Dataset(images, labels, images, labels, provenance)

    monkeypatch.setattr("data.digits.digits", digits)
    with pytest.raises(DataError, match=f"must have '{key}'"):
        make()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_what_is_recorded_of_weights_is_what_was_read(tmp_path, monkeypatch, name):
    """Of a file below ~ that is replaced later, by a net that takes some of the layers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path, net = tmp_path / name, torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    save = torch.save if path.suffix == ".pth" else save_file
    save(net.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    config = {"model": {"weights_file": f"~/{name}", "_target_": "own.net"}}
    with pytest.raises(ConfigError, match=r"own.net has not loaded it with models.weights"):
        _weights(config, net)
    load_weights(net, f"~/{name}")
    path.write_bytes(b"another")
    assert _weights(config, torch.nn.Sequential(net[0])) == {"weights_sha256": digest}
    assert _weights({"model": {}}, net) == {}
    config["model"]["encoder_weights"] = None  # from scratch
    with pytest.raises(ConfigError, match="encoder_weights from, which is null, from scratch"):
        _weights(config, net)
