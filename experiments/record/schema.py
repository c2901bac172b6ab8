"""What run.json and config.yaml must hold for tables, figures, verdicts and report to read them."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.methods import METHODS, is_number
from experiments.precision import PRECISIONS

FINISHED = ("done", "diverged")
STATUSES = (*FINISHED, "running", "failed")
_MOST_VALUES, _DEEPEST = 10_000, 20  # of a file; aliases in YAML can stand for billions


class Field(NamedTuple):
    """What a value must be, as a function and in words; here and for experiments/validate.py."""

    right: Callable[[Any], bool]
    expected: str
    optional: bool = False


def count(least: int, optional: bool = False) -> Field:
    return Field(
        lambda value: type(value) is int and least <= value < 2**63,
        "a positive integer" if least else "an integer that is not negative",
        optional,
    )


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000


def _amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_group(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


_TEXT = Field(_text, "text of at most 1000 letters")
_GROUP = Field(_is_group, "a group of named values")
_GROUP_OR_NONE = Field(lambda value: value is None or _is_group(value), "a group or null", True)
SWITCH = Field(lambda value: isinstance(value, bool), "true or false")
POSITIVE = Field(lambda value: is_number(value) and value > 0, "a positive number")
_SECONDS = Field(_amount, "a finite number of seconds, not negative")

_INFO = {
    "status": Field(lambda value: value in STATUSES, f"one of {', '.join(STATUSES)}"),
    "hash": Field(
        lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{16}", value)),
        "sixteen hex digits",
    ),
    "arm": _TEXT._replace(optional=True),
    "seed": count(0),
    "compile": SWITCH._replace(optional=True),
    "threads": count(1),
    "data": _GROUP,
    "data.name": _TEXT,
    "data.format": _TEXT,
    "data.train": count(0),
    "data.test": count(0),
    "data.repaired": Field(
        lambda value: _is_group(value) and all(type(n) is int for n in value.values()),
        "a number for each kind of repair",
        optional=True,
    ),
    "device": _TEXT,
    "cpu": _TEXT,
    "gpu": _GROUP._replace(optional=True),
    "processes": count(1, optional=True),
    "versions": _GROUP,
    "versions.torch": _TEXT,
    "versions.python": _TEXT._replace(optional=True),
    "commit": Field(lambda value: value is None or _text(value), "text or null", optional=True),
    "started": _TEXT._replace(optional=True),
    "checkpoint_seconds": _SECONDS._replace(optional=True),
}
_ONCE_FINISHED = {"seconds": _SECONDS, "digest": _TEXT, "epochs": count(0, optional=True)}
CONFIG = {
    "experiment": _TEXT,
    "scale": _TEXT,
    "task": _TEXT,
    "epochs": count(1),
    "batch_size": count(1),
    "evaluate_every": count(1, optional=True),
    "seed": count(0),
    "precision": Field(lambda name: name in PRECISIONS, " or ".join(PRECISIONS)),
    "lrd": _GROUP,
    "lrd.enabled": SWITCH,
    "lrd.compile": SWITCH,
    **{m.key: Field(m.valid, m.expected) for m in METHODS if m.key == "lrd.p"},
    "optimizer": _GROUP,
    "optimizer.name": _TEXT,
    "optimizer.lr": POSITIVE,
    "optimizer.base": _GROUP_OR_NONE,
    "optimizer.lrd": _GROUP_OR_NONE,
    "schedule": _GROUP_OR_NONE,
    "regularizer": _GROUP_OR_NONE,
    "model": _GROUP,
    "model.name": _TEXT._replace(optional=True),
    "model._target_": _TEXT._replace(optional=True),
    "data": _GROUP,
    "data.name": _TEXT._replace(optional=True),
    "data._target_": _TEXT._replace(optional=True),
}
OF_TASK = {"toy": {"model.side": count(1), "data.steps": count(1)}}


def check_info(info: Any) -> None:
    """Raise ValueError for the first field of run.json that is not as readers need it."""
    _check_size(info)
    _check(info, _INFO)
    if info["status"] in FINISHED:
        _check(info, _ONCE_FINISHED)


def check_config(config: Any) -> None:
    """Raise ValueError for the first field of config.yaml that is not as readers need it."""
    _check_size(config)
    _check(config, CONFIG)
    _check(config, OF_TASK.get(config["task"], {}))


def _check_size(content: Any) -> None:
    """Whether what was read can be gone through at all."""
    values, depth = [content], 0
    while values:
        values = [
            item
            for value in values
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        depth += 1
        if depth > _DEEPEST or len(values) > _MOST_VALUES:
            raise ValueError(
                f"it must have at most {_MOST_VALUES} values, {_DEEPEST} groups deep; it has more"
            )


def _check(content: Any, fields: dict[str, Field]) -> None:
    if not _is_group(content):
        raise ValueError(f"it must be {_GROUP.expected}, got {reprlib.repr(content)}")
    for key, field in fields.items():
        *groups, name = key.split(".")
        node: Any = content
        for group in groups:
            node = node[group]  # which was checked before
        if name not in node:
            if not field.optional:
                raise ValueError(f"{key} is missing, it must be {field.expected}")
        elif not field.right(node[name]):
            raise ValueError(f"{key} must be {field.expected}, got {reprlib.repr(node[name])}")
