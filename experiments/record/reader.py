"""The reading side of run folders: what tables, figures, verdicts and report are made from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from experiments.configuration import Config
from experiments.identity import config_hash
from experiments.record.faults import faults
from experiments.record.schema import check_config, check_info

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # tables read hundreds of files
_LONGEST = 10_000  # letters of config.yaml; the loader's own recursion ends the process at 50,000


class RecordError(RuntimeError):
    """A run folder that cannot be read or must not be written to; the message says why."""


def read_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / "run.json").read_text())
        check_info(info)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder / "run.json", error) from error
    return info


def read_config(folder: Path) -> Config:
    try:
        text = (folder / "config.yaml").read_text()
        if len(text) > _LONGEST:
            raise ValueError(f"it must have at most {_LONGEST} letters, it has {len(text)}")
        config = yaml.load(text, Loader=_LOADER)
        check_config(config)
        config_hash(config)
    except (OSError, ValueError, yaml.YAMLError, TypeError, ArithmeticError) as error:
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
    reason = " ".join(str(error).split()) or type(error).__name__
    return RecordError(f"{path} is damaged ({reason}): delete its folder to run it again")


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


class LeftOut(NamedTuple):
    """A run folder that no table, figure or verdict is made from, and why."""

    folder: Path
    reason: str


class Runs(NamedTuple):
    """The runs of a scale that are whole, finished or not, and the folders that are left out."""

    runs: list[Run]
    left_out: list[LeftOut]


def read_run(folder: Path) -> Run:
    """Takes <runs_dir>/<scale>/<experiment>/<arm>/seed<k>, returns its run, unchecked.

    Raises RecordError for a file that cannot be read.
    """
    scale, experiment, arm, seed = folder.parts[-4:]
    number = int(seed.removeprefix("seed"))
    parts = read_config(folder), read_info(folder), _read_metrics(folder)
    return Run(folder, scale, experiment, arm, number, *parts)


def read_runs(
    runs_dir: str | Path,
    *,
    scale: str,
    experiment: str | None = None,
    wanted: Callable[[str], bool] = lambda arm: True,
) -> Runs:
    """Takes the root of run folders, returns those of a scale, each read and checked once.

    `wanted` says which arms, by name. In the order of experiment, arm and seed. A folder that is
    not a whole record is left out.
    """
    runs, left_out = [], []
    for path in (Path(runs_dir) / scale).glob(f"{experiment or '*'}/*/seed*/run.json"):
        folder = path.parent
        # one that was put aside has another name
        if not re.fullmatch("seed[0-9]+", folder.name) or not wanted(folder.parent.name):
            continue
        if not re.fullmatch("seed(0|[1-9][0-9]{0,18})", folder.name):
            left_out.append(LeftOut(folder, f"{folder.name} is no seed's name, as seed0 is"))
            continue
        try:
            run = read_run(folder)
            lines = faults(run)
        except RecordError as error:
            lines = [str(error)]
        if lines:  # which quote what a file holds
            left_out.append(LeftOut(folder, "; ".join(lines)[:1000]))
        else:
            runs.append(run)
    return Runs(sorted(runs, key=lambda run: (run.experiment, run.arm, run.seed)), sorted(left_out))
