"""Whether a run folder is what a run has written: its configuration and its numbers."""

from __future__ import annotations

import hashlib
import json
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from experiments.configuration import ConfigError
from experiments.identity import arm_name, config_hash
from experiments.methods import active
from experiments.record.schema import FINISHED
from experiments.tasks import task_module

if TYPE_CHECKING:
    from experiments.record.reader import Run

NUMBERS = ("metrics.csv", "timing.csv", "paths.csv", "correct.bin")


def record_digest(folder: Path, info: dict[str, Any]) -> str:
    """SHA-256 of a finished record: run.json's content and the bytes of the other files."""
    content = {key: value for key, value in info.items() if key != "digest"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in ("config.yaml", *NUMBERS):
        path = folder / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def faults(run: Run) -> list[str]:
    """What is wrong with a finished run, in words; empty if nothing is, or if it is unfinished."""
    if run.status not in FINISHED:
        return []
    if run.info.get("digest") != record_digest(run.folder, run.info):
        return ["a file is not as the run left it (digest in run.json)"]
    try:
        for method, value in active(run.config):
            if not method.valid(value):
                shown = reprlib.repr(value)
                return [f"config.yaml: {method.key} must be {method.expected}, got {shown}"]
        named = f"{run.config['scale']}/{run.config['experiment']}/{arm_name(run.config)}"
        hashed = config_hash(run.config)
    except ConfigError as error:
        return [str(error)]
    lines = []
    if run.info["hash"] != hashed:
        lines.append("config.yaml is not the one that run.json was written with (hash)")
    folder = f"{run.scale}/{run.experiment}/{run.arm}"
    if not run.seed == run.config["seed"] == run.info["seed"] or folder != named:
        lines.append(f"config.yaml is of {named}/seed{run.config['seed']}, not of this folder")
    return lines + _faults_of_metrics(run)


def _faults_of_metrics(run: Run) -> list[str]:
    metrics, epochs = run.metrics, run.config["epochs"]
    try:
        columns = task_module(run.config["task"]).COLUMNS
    except (ImportError, AttributeError) as error:
        return [f"what task {run.config['task']!r} records is not known here: {error}"]
    shown = [name for name, column in columns.items() if name in metrics or not column.optional]
    expected = ["epoch", "lr", *shown]
    if list(metrics.columns) != expected:
        names = ", ".join(metrics.columns) or "none"
        return [f"metrics.csv must have the columns {', '.join(expected)}, it has {names}"]
    if not all(is_numeric_dtype(kind) and not is_bool_dtype(kind) for kind in metrics.dtypes):
        return ["metrics.csv holds what is not a number"]
    wanted = epochs if run.status == "done" else run.info.get("epochs")
    if metrics["epoch"].tolist() != list(range(1, len(metrics) + 1)) or len(metrics) != wanted:
        return [f"metrics.csv must have the epochs 1 … {wanted}, it has {len(metrics)} rows"]
    whole = metrics if run.status == "done" else metrics.iloc[:-1]  # the last row diverged
    lines = [
        f"metrics.csv: {name} is not finite" for name in whole if not np.isfinite(whole[name]).all()
    ]
    for name in whole:
        highest = columns[name].highest if name in columns else np.inf
        if ((whole[name] < 0) | (whole[name] > highest)).any():
            lines.append(f"metrics.csv: {name} is outside 0 … {highest}")
    return lines
