"""Arm names, folders and the configuration hash."""

import copy
import re

import pytest

from experiments.configuration import ConfigError, flatten
from experiments.identity import arm_name, config_hash, differences, run_folder
from experiments.validate import check, resolve
from helpers.commands import configure

CONFIG = {
    "experiment": "mnist",
    "scale": "paper",
    "task": "classification",
    "epochs": 100,
    "batch_size": 128,
    "schedule": {"name": "constant"},
    "lr_scale": 1.0,
    "lrd": {"enabled": False, "p": 0.5, "compile": True},
    "seed": 0,
    "threads": 1,
    "device": "auto",
    "precision": "fp32",
    "runs_dir": "results/runs",
    "model": {"_target_": "models.fcnet.fcnet", "num_classes": 10, "hidden": 1000},
    "data": {"_target_": "data.mnist.mnist", "root": "data/raw", "subset": None},
    "optimizer": {
        "name": "adam",
        "lr": 0.001,
        "base": {"_target_": "torch.optim.Adam", "fused": True},
        "lrd": {"_target_": "lrd.Adam"},
    },
    "wandb": {"mode": "disabled"},
}


def changed(**dotted):
    config = copy.deepcopy(CONFIG)
    for key, value in dotted.items():
        place = config
        *path, last = key.split("__")
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return config


def test_scale_mid_is_what_an_experiment_declares_and_no_other_scales_name():
    config = configure("experiment=cifar10", "scale=mid", "optimizer=sgdm", runs_dir="x")
    assert arm_name(config) == "sgdm"
    assert config["optimizer"]["weight_decay"] == 0.0005  # as published
    assert (config["precision"], config["clean_train"]) == ("bf16", 5000)
    assert config["data"]["test_subset"] is None
    with pytest.raises(ConfigError, match=r"mnist does not say what its scale mid is"):
        check(configure("experiment=mnist", "scale=mid", runs_dir="x"))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", "adam"),
        ("lrd.enabled=true", "adam+lrd0.5"),
        ("lrd.enabled=true lrd.p=0.30", "adam+lrd0.3"),
        ("lrd.enabled=true lrd.p=1", "adam"),
        ("lrd.enabled=true lrd.p=1.0", "adam"),
        ("lr_scale=0.5", "adam+lr0.5"),
        ("lrd.enabled=true lrd.rescale=true", "adam+lrd0.5+rescale"),
        ("regularizer.noisy_label=0.05", "adam+nl0.05"),
        (
            "experiment=cifar10 scale=paper lrd.enabled=true regularizer.p_sd=0.9",
            "adam+lrd0.5+sd0.9",
        ),
        ("lrd.enabled=true regularizer.noisy_gradient=0.1", "adam+lrd0.5+ng0.1"),
        ("optimizer.lr=0.01", "adam+lr=0.01"),
        ("+optimizer.weight_decay=0.0005", "adam+weight_decay=0.0005"),
        ("optimizer=rmsprop lrd.enabled=true lrd.authors=true", "rmsprop+lrd0.5+authors"),
        ("data.standardised=true", "adam"),
        ("data.standardised=false", "adam+standardised=false"),
        ("epochs=1 data.subset=1000", "adam+data.subset=1000+epochs=1"),
        ("model.hidden=10 batch_size=64", "adam+batch_size=64+model.hidden=10"),
        ("schedule.name=cosine", "adam+schedule.name=cosine"),
        ("threads=2 precision=bf16", "adam+precision=bf16+threads=2"),
        ("experiment=cifar10 scale=paper", "adam"),
        ("experiment=cifar10 scale=paper optimizer.weight_decay=0", "adam+weight_decay=0"),
        ("experiment=cifar10 scale=paper +schedule.warmup=5", "adam+schedule.warmup=5"),
        ("device=cpu checkpoint_minutes=1 predictions=3 wandb.mode=offline", "adam"),
    ],
)
def test_an_arm_is_named_by_what_differs_from_its_experiment_at_its_scale(words, name):
    for scale in ("paper", "smoke"):
        words = words if "scale" in words else f"experiment=mnist scale={scale} {words}"
        config = configure(*words.split(), runs_dir="x")
        assert arm_name(resolve(config)) == name


def test_two_configurations_of_one_name_have_one_hash_or_are_told_apart_by_it():
    """Every key of the configuration, changed alone, changes the name, the folder, or no number."""
    plain = configure("experiment=mnist", "scale=paper", "lrd.enabled=true", runs_dir="x")
    unnamed = []
    for key, value in flatten(plain).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            place = config = copy.deepcopy(plain)
            *path, last = key.split(".")
            for name in path:
                place = place[name]
            place[last] = value / 2 + 0.25
            same_folder = run_folder(config) == run_folder(plain)
            if same_folder and config_hash(config) != config_hash(plain):
                unnamed.append(key)
    assert unnamed == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("optimizer.base._target_=torch.optim.Adagrad", "conf/optimizer/adam.yaml has"),
        ("optimizer.lrd._target_=lrd.RMSprop", "conf/optimizer/adam.yaml has"),
        ("optimizer.base.fused=false", "need a file and a name of their own"),
        ("optimizer.name=mine", "no file conf/optimizer/mine.yaml"),
        ("optimizer=rmsprop optimizer.name=adam", "conf/optimizer/adam.yaml has"),
        ("model=resnet34", "write an experiment of your own"),
        ("data=digits", "write an experiment of your own"),
        ("task=segmentation", "write an experiment of your own"),
        ("+optimizer.note=../../x", "becomes a folder"),
        ("+optimizer.note=" + 250 * "x", "becomes a folder"),
    ],
)
def test_what_is_no_arm_of_the_experiment_has_no_name(words, message):
    config = configure("experiment=mnist", *words.split(), runs_dir="x")
    with pytest.raises(ConfigError, match=re.escape(message)):
        run_folder(config)


def test_the_folder_is_found_by_scale_experiment_arm_and_seed():
    folder = run_folder(changed(lrd__enabled=True, seed=3))
    assert str(folder) == "results/runs/paper/mnist/adam+lrd0.5/seed3"


@pytest.mark.parametrize(
    "changes",
    [
        dict(runs_dir="/elsewhere"),
        dict(device="cpu"),
        dict(data__root="/mnt"),
        dict(wandb__mode="online"),
        dict(lrd__p=0.3),
        dict(lrd__compile=False),
        dict(optimizer__base={"_target_": "other"}),
        dict(epochs=100.0),
        dict(lrd__rescale=False),
        dict(regularizer={}),
        dict(data__standardised=True),
        dict(resources={"cpus": 8}),
        dict(model__name="FCNet"),
        dict(methods=[]),
    ],
)
def test_what_cannot_change_a_base_arms_numbers_is_not_hashed(changes):
    assert config_hash(changed(**changes)) == config_hash(CONFIG)


@pytest.mark.parametrize(
    "changes",
    [
        dict(seed=1),
        dict(epochs=99),
        dict(threads=2),
        dict(model__hidden=999),
        dict(data__subset=100),
        dict(data__standardised=False),
        dict(optimizer__lr=0.01),
        dict(lr_scale=0.5),
        dict(precision="bf16"),
        dict(lrd__enabled=True),
        dict(schedule__name="step"),
        dict(regularizer__p_sd=0.9),
        dict(label_smoothing=0.1),
        dict(model__something__new=1),
    ],
)
def test_what_changes_the_numbers_changes_the_hash(changes):
    assert config_hash(changed(**changes)) != config_hash(CONFIG)


def test_p_and_compile_are_part_of_an_lrd_arms_hash():
    hashes = {
        config_hash(changed(lrd__enabled=True, **more))
        for more in ({}, dict(lrd__p=0.3), dict(lrd__compile=False))
    }
    assert len(hashes) == 3


def test_the_hash_of_the_committed_runs_does_not_move():
    """Runs are recognised by it: a change here orphans every committed run."""
    assert config_hash(CONFIG) == "44024243c6caab7b"
    assert config_hash(changed(lrd__enabled=True)) == "26fb04bff3e9aa7e"


def test_differences_are_named_key_by_key():
    lines = differences(CONFIG, changed(epochs=50, data__subset=100))
    assert lines == ["data.subset: None -> 100.0", "epochs: 100.0 -> 50.0"]


@pytest.mark.parametrize("name", ["../evil", "..", ".hidden", "a/b", "/root", "", "a\nb"])
@pytest.mark.parametrize("key", ["scale", "experiment", "optimizer__name"])
def test_no_name_leads_out_of_the_runs_folder(key, name):
    with pytest.raises(ConfigError):
        run_folder(changed(**{key: name}))
