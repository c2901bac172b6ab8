"""The tasks: each a module with `loss`, `evaluate`, and its columns of metrics.csv.

A module declares
COLUMNS  its columns by name, in the order of metrics.csv, after `epoch` and `lr`
RESULT   the column whose last value is a run's result: tables show it
CHOICE   the column by whose last value a learning rate is chosen (best_rate), if there is one
"""

from __future__ import annotations

import functools
import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Column(NamedTuple):
    """What readers must know of a column of metrics.csv."""

    label: str  # of an axis, with its unit
    highest: float = math.inf  # its values lie in 0 … highest
    digits: int = 3  # decimals in tables
    unit: str = ""  # of a difference of two values
    falls: bool = False  # whether lower is better
    optional: bool = False  # only in runs whose configuration asks for it


@functools.cache
def task_module(name: str) -> ModuleType:
    """Takes a task's name, returns its module: of this folder, or else any that Python finds.

    Raises ImportError if there is none, AttributeError if it lacks what a task has.
    """
    own = (Path(__file__).parent / f"{name}.py").is_file()
    module = importlib.import_module(f"{__name__}.{name}" if own else name)
    for part in ("COLUMNS", "RESULT", "loss", "evaluate"):
        if not hasattr(module, part):
            raise AttributeError(f"the module {name} has no {part}, which a task needs")
    return module


def required_columns(task: str) -> tuple[str, ...]:
    """Takes a task's name, returns the columns that all of its runs have."""
    columns = task_module(task).COLUMNS
    return tuple(name for name, column in columns.items() if not column.optional)
