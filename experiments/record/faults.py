"""Whether a run folder is what a run has written: its configuration and its numbers."""

from __future__ import annotations

import hashlib
import json
import reprlib
from contextlib import suppress
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.configuration import Config, ConfigError, is_evaluated
from experiments.identity import arm_name, digest_of, hashed_part
from experiments.methods import active
from experiments.record.files import Columns, RecordError, read_table
from experiments.tasks import task_module

if TYPE_CHECKING:
    from experiments.record.reader import Run

NUMBERS = ("metrics.csv", "timing.csv", "paths.csv", "correct.bin")


def record_digest(folder: Path, info: dict[str, Any]) -> str:
    """SHA-256 of a finished record: run.json's content and the bytes of the other files."""
    content = {key: value for key, value in info.items() if key != "digest"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in ("config.yaml", *NUMBERS):
        with suppress(FileNotFoundError):
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def faults(run: Run) -> list[str]:
    """What is wrong with a run, in words; empty if nothing is. Of an unfinished run: text."""
    if not run.finished:
        return _faults_of_columns("metrics.csv", run.metrics, list(run.metrics))
    if run.info.get("digest") != record_digest(run.folder, run.info):
        return ["a file is not as the run left it (digest in run.json)"]
    try:
        named, hashed = _identity(run.config)
    except ConfigError as error:
        return [str(error)]
    lines = []
    if run.info["hash"] != hashed:
        lines.append("config.yaml is not the one that run.json was written with (hash)")
    folder = f"{run.scale}/{run.experiment}/{run.arm}"
    if not run.seed == run.config["seed"] == run.info["seed"] or folder != named:
        lines.append(f"config.yaml is of {named}/seed{run.config['seed']}, not of this folder")
    return lines + (_faults_of_metrics(run) or _faults_of_tables(run))


_KNOWN: dict[str, tuple[str, Config]] = {}  # by configuration, whatever its seed


def _identity(config: Config) -> tuple[str, str]:
    """The <scale>/<experiment>/<arm> that a configuration is of, and its hash.

    Raises ConfigError for one that no run has. Of runs that differ by the seed, it is quick.
    """
    form = json.dumps({**config, "seed": 0}, default=repr)
    if form not in _KNOWN:
        for method, value in active(config):
            if not method.valid(value):
                raise ConfigError(
                    f"config.yaml: {method.key} must be {method.expected}, got "
                    f"{reprlib.repr(value)}"
                )
        named = f"{config['scale']}/{config['experiment']}/{arm_name(config)}"
        _KNOWN[form] = named, hashed_part(config)
    named, hashed = _KNOWN[form]
    return named, digest_of({**hashed, "seed": float(config["seed"])})


def _faults_of_metrics(run: Run) -> list[str]:
    metrics, epochs = run.metrics, run.config["epochs"]
    try:
        columns = task_module(run.config["task"]).COLUMNS
    except (ImportError, AttributeError) as error:
        return [f"what task {run.config['task']!r} records is not known here: {error}"]
    shown = [name for name, column in columns.items() if name in metrics or not column.optional]
    expected = ["epoch", "lr", *shown]
    if lines := _faults_of_columns("metrics.csv", metrics, expected):
        return lines
    numbers = np.column_stack([*metrics.values()])
    wanted = epochs if run.status == "done" else run.info.get("epochs")
    if numbers[:, 0].tolist() != list(range(1, len(numbers) + 1)) or len(numbers) != wanted:
        return [f"metrics.csv must have the epochs 1 … {wanted}, it has {len(numbers)} rows"]
    whole = numbers if run.status == "done" else numbers[:-1]  # the last row diverged
    evaluated = np.array([is_evaluated(run.config, epoch) for epoch in whole[:, 0]], dtype=bool)
    highest = [columns[name].highest if name in columns else np.inf for name in expected]
    between = whole[~evaluated]
    empty = np.isnan(between).all(axis=0)
    empty[:2] = False  # epoch and lr
    infinite = ~np.isfinite(whole[evaluated]).all(axis=0)
    infinite |= ~(np.isfinite(between).all(axis=0) | empty)
    outside = ((whole < 0) | (whole > highest)).any(axis=0)
    lines = [f"metrics.csv: {name} is not finite" for name in compress(expected, infinite)]
    for name, most in compress(zip(expected, highest, strict=True), outside):
        lines.append(f"metrics.csv: {name} is outside 0 … {most}")
    return lines


def _faults_of_tables(run: Run) -> list[str]:
    """Of timing.csv, and of the toy's paths.csv, which is drawn."""
    try:
        timing = read_table(run.folder / "timing.csv")
        if lines := _faults_of_columns("timing.csv", timing, ["epoch", "seconds"]):
            return lines
        epochs, seconds = timing.values()
        if epochs.tolist() != list(range(1, run.epochs + 1)):
            return [f"timing.csv must have the epochs of metrics.csv, it has {len(epochs)} rows"]
        if not (np.isfinite(seconds) & (seconds >= 0)).all():
            return ["timing.csv: seconds must be finite, not negative"]
        if run.config["task"] != "toy" or run.status != "done":  # its paths come at the end
            return []
        paths = read_table(run.folder / "paths.csv")
    except RecordError as error:
        return [str(error)]
    return _faults_of_columns("paths.csv", paths, ["start", "step", "x", "y", "f"])


def _faults_of_columns(name: str, table: Columns, expected: list[str]) -> list[str]:
    """Of a table's columns: they must be those expected, of numbers."""
    if list(table) != expected:
        names = ", ".join(table) or "none"
        return [f"{name} must have the columns {', '.join(expected)}, it has {names}"]
    if any(column.dtype.kind not in "iuf" for column in table.values()):
        return [f"{name} holds what is not a number"]
    return []
