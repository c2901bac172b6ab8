"""The files of a run folder, each read, and checked as far as it is alone."""

from __future__ import annotations

import functools
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from experiments.configuration import Config
from experiments.identity import config_hash
from experiments.record.schema import check_config, check_info

Columns = dict[str, np.ndarray]  # of a csv file, by name

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # tables read thousands of files
_SEED = re.compile("^seed: (0|[1-9][0-9]{0,17})$", re.MULTILINE)
_ANY_SEED = 271828182845904523  # stands for the seed in what an arm's files have in common
_NUMBERS = re.compile(r"[-+.,\n0-9einaf]*")
LONGEST = 10_000  # letters of config.yaml; the loader's own recursion ends the process at 50,000


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
        if len(text) > LONGEST:
            raise ValueError(f"it must have at most {LONGEST} letters, it has {len(text)}")
        if len(seeds := _SEED.findall(text)) == 1:
            config = _parsed(_SEED.sub(f"seed: {_ANY_SEED}", text))
            if config["seed"] == _ANY_SEED:
                return {**config, "seed": int(seeds[0])}
        return _parsed(text)
    except (OSError, ValueError, yaml.YAMLError, TypeError, ArithmeticError) as error:
        raise _damaged(folder / "config.yaml", error) from error


@functools.lru_cache(maxsize=1000)
def _parsed(text: str) -> Config:
    """Takes the text of a config.yaml, returns it, checked; of runs of one arm, but once."""
    config = yaml.load(text, Loader=_LOADER)
    check_config(config)
    config_hash(config)
    return config


def read_table(path: Path) -> Columns:
    """Takes a csv file of a run, returns its columns; none if there is no file.

    Raises RecordError for one that is no table.
    """
    try:
        header, _, body = path.read_text().partition("\n")
        names, rows = header.split(","), body.splitlines()
        unique = len(set(names)) == len(names)
        commas = {row.count(",") for row in rows}
        if unique and _NUMBERS.fullmatch(body) and commas == {len(names) - 1}:
            with suppress(ValueError):
                cells = [cell or "nan" for row in rows for cell in row.split(",")]
                numbers = np.array(list(map(float, cells)))
                return dict(zip(names, numbers.reshape(len(rows), -1).T, strict=True))
        import pandas as pd  # slow to load, and few files need it

        table = pd.read_csv(path)  # of anything else, in ten times as long
        return {str(name): table[name].to_numpy() for name in table}
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RecordError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return RecordError(f"{path} is damaged ({reason}): delete its folder to run it again")
