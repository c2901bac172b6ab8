"""Arm names, folders and the configuration hash."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from experiments.identity import arm_name, config_hash, differences, run_folder

RUNS = Path(__file__).parents[2] / "results" / "runs"

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
    "optimizer": {"name": "adam", "lr": 0.001, "base": {"_target_": "a"}, "lrd": {"_target_": "b"}},
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


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "adam"),
        (dict(lrd__enabled=True), "adam+lrd0.5"),
        (dict(lrd__enabled=True, lrd__p=0.30), "adam+lrd0.3"),
        (dict(lrd__enabled=True, lrd__p=1), "adam"),
        (dict(lrd__enabled=True, lrd__p=1.0), "adam"),
        (dict(lr_scale=0.5), "adam+lr0.5"),
        (dict(lrd__enabled=True, lrd__rescale=True), "adam+lrd0.5+rescale"),
        (dict(regularizer__p_sd=0.9), "adam+sd0.9"),
        (dict(regularizer__noisy_label=0.05), "adam+nl0.05"),
        (dict(lrd__enabled=True, regularizer__p_sd=0.9), "adam+lrd0.5+sd0.9"),
        (dict(lrd__enabled=True, regularizer__noisy_gradient=0.1), "adam+lrd0.5+ng0.1"),
        (dict(optimizer__lr=0.01), "adam+lr=0.01"),
        (dict(optimizer__weight_decay=0.0005), "adam+weight_decay=0.0005"),
        (dict(optimizer__name="rmsprop", lrd__enabled=True, lrd__authors=True),
         "rmsprop+lrd0.5+authors"),
        (dict(data__standardised=True), "adam"),
        (dict(data__standardised=False), "adam+standardised=false"),
    ],
)  # fmt: skip
def test_an_arm_is_named_by_what_differs(changes, name):
    assert arm_name(changed(**changes)) == name


def test_names_cannot_leave_the_runs_folder():
    with pytest.raises(ValueError, match="becomes a folder"):
        arm_name(changed(optimizer__note="../../x"))


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
        dict(launcher="ray"),
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


@pytest.mark.parametrize(
    "folder",
    [path.parent for path in sorted(RUNS.glob("paper/*/*/seed*/run.json"))],
    ids=lambda folder: "/".join(folder.parts[-3:]),
)
def test_a_recorded_run_is_still_recognised(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config_hash(config) == json.loads((folder / "run.json").read_text())["hash"]
    assert run_folder({**config, "runs_dir": RUNS}) == folder


def test_differences_are_named_key_by_key():
    lines = differences(CONFIG, changed(epochs=50, data__subset=100))
    assert lines == ["data.subset: None -> 100.0", "epochs: 100.0 -> 50.0"]


@pytest.mark.parametrize("name", ["../evil", "..", ".hidden", "a/b", "/root", "", "a\nb"])
@pytest.mark.parametrize("key", ["scale", "experiment", "optimizer__name"])
def test_no_name_leads_out_of_the_runs_folder(key, name):
    with pytest.raises((ValueError, FileNotFoundError)):
        run_folder(changed(**{key: name}))
