"""Whether a run folder is what a run has written: its configuration and its numbers."""

from __future__ import annotations

import numpy as np
from pandas.api.types import is_numeric_dtype

from experiments.identity import arm_name, config_hash
from experiments.record.reader import FINISHED, Run, record_digest

COLUMNS = {
    "classification": ["train_loss", "train_accuracy", "test_loss", "test_accuracy"],
    "segmentation": ["train_loss", "mean_iou", "pixel_accuracy"],
    "detection": ["train_loss", "val_loss", "map50"],
    "toy": ["train_loss", "global_share", "local_share", "outside_share"],
}
_GREATEST = {
    "train_accuracy": 100, "test_accuracy": 100, "mean_iou": 1, "pixel_accuracy": 1, "map50": 1,
    "global_share": 1, "local_share": 1, "outside_share": 1,
}  # fmt: skip


def faults(run: Run) -> list[str]:
    """What is wrong with a finished run, in words; empty if nothing is, or if it is unfinished."""
    if run.status not in FINISHED:
        return []
    if run.info.get("digest") != record_digest(run.folder, run.info):
        return ["a file is not as the run left it (digest in run.json)"]
    found = []
    if run.info["hash"] != config_hash(run.config):
        found.append("config.yaml is not the one that run.json was written with (hash)")
    if (run.arm, run.seed) != (arm_name(run.config), run.config["seed"]):
        named = f"{arm_name(run.config)}/seed{run.config['seed']}"
        found.append(f"config.yaml is of {named}, not of {run.arm}/seed{run.seed}")
    return found + _faults_of_metrics(run)


def _faults_of_metrics(run: Run) -> list[str]:
    metrics, epochs = run.metrics, run.config["epochs"]
    expected = ["epoch", "lr", *COLUMNS.get(run.config["task"], [])]
    if list(metrics.columns) != expected:
        found = ", ".join(metrics.columns) or "none"
        return [f"metrics.csv must have the columns {', '.join(expected)}, it has {found}"]
    if not all(is_numeric_dtype(kind) for kind in metrics.dtypes):
        return ["metrics.csv holds what is not a number"]
    wanted = epochs if run.status == "done" else run.info.get("epochs")
    if metrics["epoch"].tolist() != list(range(1, len(metrics) + 1)) or len(metrics) != wanted:
        return [f"metrics.csv must have the epochs 1 … {wanted}, it has {len(metrics)} rows"]
    whole = metrics if run.status == "done" else metrics.iloc[:-1]  # the last row diverged
    found = [
        f"metrics.csv: {name} is not finite" for name in whole if not np.isfinite(whole[name]).all()
    ]
    for name in whole:
        greatest = _GREATEST.get(name, np.inf)
        if ((whole[name] < 0) | (whole[name] > greatest)).any():
            found.append(f"metrics.csv: {name} is outside 0 … {greatest}")
    return found
