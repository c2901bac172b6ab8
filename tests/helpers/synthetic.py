"""Synthetic run folders, whose numbers are worked out by hand."""

import json
import re
from copy import deepcopy
from pathlib import Path

import pandas as pd
import yaml

from experiments.identity import config_hash, reference
from experiments.methods import METHODS
from experiments.record.faults import record_digest
from experiments.record.reader import read_runs
from lrd.mask import MASKS
from scripts.gather import Experiment, gather

KEYS = {method.suffix: method.key for method in METHODS}
DATA = {"name": "MNIST", "format": "idx", "train": 60000, "test": 10000}


def make_run(
    root: Path,
    arm: str,
    seed: int,
    test_accuracy: list[float],
    *,
    scale: str = "paper",
    experiment: str = "mnist",
    status: str = "done",
    source: dict | None = None,
    columns: dict[str, list[float]] | None = None,
    device: str = "cpu",
    **changes,
) -> Path:
    """Write a run folder as the runner does; losses fall as 1 / epoch, or columns are given."""
    optimizer, *methods = arm.split("+")
    config = deepcopy(
        reference({"experiment": experiment, "scale": scale, "optimizer": {"name": optimizer}})
    )
    config |= {"seed": seed, "epochs": len(test_accuracy)}
    config["lrd"] |= {"compile": False, "enabled": "+lrd" in arm}
    for word in methods:
        name, value = re.fullmatch(r"(.+=|step_of_|row|tensor|[a-z_]+)(.*)", word).groups()
        if name in MASKS:
            key, value = KEYS[""], name
        elif name.endswith("="):
            key = f"{'data' if name == 'standardised=' else 'optimizer'}.{name[:-1]}"
        else:
            key = KEYS[name]
        group, _, last = key.rpartition(".")
        (config[group] if group else config)[last] = yaml.safe_load(value or "true")
    info = {
        "status": status,
        "hash": config_hash(config | changes),
        "seed": seed,
        "threads": 1,
        "device": device,
        "commit": None,
        "cpu": "Some CPU",
        "versions": {"torch": "2.14.1"},
        "seconds": 60.0,
        "data": source or DATA,
    }
    if status == "diverged":
        info["epochs"] = len(test_accuracy)
    epochs = range(1, len(test_accuracy) + 1)
    metrics = pd.DataFrame({"epoch": epochs, "lr": config["optimizer"]["lr"]})
    metrics["train_loss"] = [1 / epoch for epoch in epochs]
    metrics["train_accuracy"] = test_accuracy
    metrics["test_loss"] = metrics["train_loss"]
    metrics["test_accuracy"] = test_accuracy
    if columns is not None:  # of a task that is no classification
        metrics = metrics[["epoch", "lr"]].assign(**columns)
    folder = root / scale / experiment / arm / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config | changes))
    metrics.to_csv(folder / "metrics.csv", index=False)
    metrics[["epoch"]].assign(seconds=6.0).to_csv(folder / "timing.csv", index=False)
    (folder / "run.json").write_text(json.dumps(info))
    sign(folder)
    return folder


def sign(folder: Path) -> None:
    """Give an edited record the digest of what it holds now, as if a run had left it so."""
    path = folder / "run.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"digest": record_digest(folder, info)}))


def read_experiment(root: Path, scale: str, name: str, arms: list[str]) -> Experiment:
    """The named arms of an experiment among the run folders below `root`."""
    return gather(read_runs(root, scale=scale, experiment=name), name, arms)
