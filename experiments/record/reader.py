"""The reading side of run folders: what tables, figures, verdicts and report are made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from experiments.identity import Config, config_hash

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # tables read hundreds of files
NUMBERS = ("metrics.csv", "timing.csv", "paths.csv")
FINISHED = ("done", "diverged")
STATUSES = (*FINISHED, "running", "failed")


class RecordError(RuntimeError):
    """A run folder that cannot be read or must not be written to; the message says why."""


def record_digest(folder: Path, info: dict[str, Any]) -> str:
    """SHA-256 of a finished record: run.json's content and the bytes of the other files."""
    content = {key: value for key, value in info.items() if key != "digest"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in ("config.yaml", *NUMBERS):
        path = folder / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def read_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / "run.json").read_text())
        if info["status"] not in STATUSES:
            raise ValueError(f"status {info['status']!r}")
        info["hash"], info["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / "run.json", error) from error
    return info


def read_config(folder: Path) -> Config:
    try:
        config = yaml.load((folder / "config.yaml").read_text(), Loader=_LOADER)
        config_hash(config)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / "config.yaml", error) from error
    return config


def _read_metrics(folder: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(folder / "metrics.csv")
    except FileNotFoundError:
        return pd.DataFrame()
    except (ValueError, OSError) as error:
        raise _damaged(folder / "metrics.csv", error) from error


def _damaged(path: Path, error: Exception) -> RecordError:
    return RecordError(f"{path} is damaged ({error!r}): delete its folder to run it again")


@dataclass(frozen=True)
class Run:
    """A run folder as tables and figures read it; `metrics` has a row per epoch."""

    folder: Path
    scale: str
    experiment: str
    arm: str
    seed: int
    config: Config
    info: dict[str, Any]
    metrics: pd.DataFrame

    @property
    def status(self) -> str:
        return self.info["status"]


def read_runs(runs_dir: str | Path, *, scale: str, experiment: str | None = None) -> list[Run]:
    """All runs of a scale, finished or not, in the order of experiment, arm and seed.

    Raises RecordError for a file that cannot be read.
    """
    root = Path(runs_dir) / scale
    runs = []
    for path in root.glob(f"{experiment or '*'}/*/seed*/run.json"):
        folder = path.parent
        if not folder.name.removeprefix("seed").isdecimal():  # one that was put aside
            continue
        runs.append(
            Run(
                folder,
                scale,
                folder.parent.parent.name,
                folder.parent.name,
                int(folder.name.removeprefix("seed")),
                read_config(folder),
                read_info(folder),
                _read_metrics(folder),
            )
        )
    return sorted(runs, key=lambda run: (run.experiment, run.arm, run.seed))
