"""The tasks: each a module with `loss`, `evaluate`, and its columns of metrics.csv.

A module declares
COLUMNS  its columns by name, in the order of metrics.csv, after `epoch` and `lr`
RESULT   the column whose last value is a run's result: tables show it
"""

from __future__ import annotations

import importlib
import math
from types import ModuleType
from typing import NamedTuple


class Column(NamedTuple):
    """What readers must know of a column of metrics.csv."""

    label: str  # of an axis, with its unit
    highest: float = math.inf  # its values lie in 0 … highest
    digits: int = 3  # decimals in tables
    unit: str = ""  # of a difference of two values
    falls: bool = False  # whether lower is better


def task_module(name: str) -> ModuleType:
    """Takes a task's name, returns its module: experiments/tasks/<name>.py, or with a dot in the
    name any module that Python finds.

    Raises ImportError if there is none, AttributeError if it does not declare its columns.
    """
    module = importlib.import_module(name if "." in name else f"{__name__}.{name}")
    for declared in ("COLUMNS", "RESULT"):
        if not hasattr(module, declared):
            raise AttributeError(f"task {name} does not declare {declared}: see conf/README.md")
    return module
