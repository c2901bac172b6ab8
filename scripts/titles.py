"""The names of experiments: `MNIST, FCNet` is what a data set and a net declare in conf/."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from experiments.configuration import CONF, Config


def title(experiment: str, configs: Iterable[Config] = ()) -> str:
    """Takes an experiment and its runs' configurations, returns `MNIST, FCNet`.

    Without runs the names are those of the experiment's file, without a file the experiment's own.
    """
    nodes = [(config["data"], config["model"]) for config in configs] or _nodes_of_file(experiment)
    groups = [
        sorted({name_of(node) for node in group} - {""}) for group in zip(*nodes, strict=True)
    ]
    return ", ".join(" or ".join(names) for names in groups if names) or experiment


def task_of(experiment: str) -> str | None:
    """Takes an experiment without runs, returns the task that its file names, if it has a file."""
    return _yaml(CONF / "experiment" / f"{experiment}.yaml").get("task")


def name_of(node: dict[str, Any]) -> str:
    """Takes the configuration of a net or data set, returns the name that it declares.

    For one recorded without a name it is that of the file called as its `_target_`.
    """
    target = node.get("_target_", "")
    return node.get("name") or _declared_names().get(target) or target.rpartition(".")[2]


def anchor(heading: str) -> str:
    """The name by which a link finds a heading, as GitHub makes it; and a file of its figure."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@functools.cache
def _declared_names() -> dict[str, str]:
    """The names by `_target_` of the files in conf/model and conf/data that are called as it is."""
    files = [*sorted(CONF.glob("model/*.yaml")), *sorted(CONF.glob("data/*.yaml"))]
    nodes = {path.stem: _yaml(path) for path in files}
    return {
        node["_target_"]: node["name"]
        for stem, node in nodes.items()
        if {"_target_", "name"} <= node.keys() and node["_target_"].rpartition(".")[2] == stem
    }


def _nodes_of_file(experiment: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The data and model files that an experiment's file names, if there is one."""
    names: dict[str, str] = {}
    file = _yaml(CONF / "experiment" / f"{experiment}.yaml")
    for entry in file.get("defaults", []):
        names |= entry if isinstance(entry, dict) else {}
    data, model = (
        _yaml(CONF / group / f"{names.get(f'override /{group}')}.yaml") | file.get(group, {})
        for group in ("data", "model")
    )
    return [(data, model)] if data and model else []


@functools.cache
def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) if path.exists() else {}
