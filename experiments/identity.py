"""What identifies a run: its arm's name, its folder and the hash of its configuration.

Configurations are plain nested dicts, as `OmegaConf.to_container(resolve=True)` gives them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]

# Keys that change a run's numbers, with the value at which a key is left out of the hash, so that
# a key added later does not orphan the runs that were made before it. REQUIRED is never left out.
# `optimizer`'s own classes are not in it: the rule's name and its hyper-parameters are.
REQUIRED = object()
HASHED: dict[str, Any] = {
    "model": REQUIRED,
    "data": REQUIRED,
    "data.standardised": True,
    "optimizer": REQUIRED,
    "task": REQUIRED,
    "epochs": REQUIRED,
    "batch_size": REQUIRED,
    "seed": REQUIRED,
    "schedule": {"name": "constant"},
    "lr_scale": 1.0,
    "regularizer.p_sd": 1.0,
    "regularizer.noisy_label": 0.0,
    "regularizer.noisy_gradient": 0.0,
    "regularizer.dropout_gradient": 1.0,
    "lrd.enabled": False,
    "lrd.p": REQUIRED,
    "lrd.compile": REQUIRED,
    "lrd.rescale": False,
    "lrd.authors": False,
    "precision": "fp32",
    "channels_last": False,
    "compile_model": False,
    "threads": 1,
}
# Paths of the machine, how data is loaded, class names, and the names in tables.
_NOT_HASHED = {
    "data.name", "data.root", "data.cache", "data.workers", "model.name", "model.weights_file",
    "optimizer.base", "optimizer.lrd",
}  # fmt: skip
_SUFFIXES = {"p_sd": "sd", "noisy_label": "nl", "noisy_gradient": "ng", "dropout_gradient": "dg"}
_CONF = Path(__file__).parent.parent / "conf"


def masked(config: Config) -> bool:
    """Whether the arm is one with learning rate dropout; at p = 1 it is the base arm."""
    return bool(config["lrd"]["enabled"]) and config["lrd"]["p"] != 1


def arm_name(config: Config) -> str:
    """What differs from the experiment's plain optimizer: `adam`, `adam+lrd0.5`, `adam+lr=0.01`."""
    optimizer, lrd = config["optimizer"], config["lrd"]
    parts = [optimizer["name"]]
    if masked(config):
        parts.append(f"lrd{lrd['p']:g}")
        parts += [word for word in ("rescale", "authors") if lrd.get(word)]
    if config["lr_scale"] != 1:
        parts.append(f"lr{config['lr_scale']:g}")
    regularizer = config.get("regularizer", {})
    parts += [
        f"{suffix}{regularizer[key]:g}"
        for key, suffix in _SUFFIXES.items()
        if regularizer.get(key, neutral := HASHED[f"regularizer.{key}"]) != neutral
    ]
    if not config["data"].get("standardised", True):
        parts.append("standardised=false")
    standard = _standard_optimizer(optimizer["name"], config["experiment"])
    for key, value in sorted(optimizer.items()):
        if key not in ("name", "base", "lrd") and standard.get(key) != value:
            parts.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return _folder_name("an arm's name", "+".join(parts))


def _folder_name(what: str, name: str) -> str:
    """The name itself; ValueError for one that could lead out of its folder, or be hidden in it."""
    if not re.fullmatch(r"\w[\w.+=,\[\] -]*", name):
        raise ValueError(f"{what} becomes a folder's name, got {name!r}")
    return name


@functools.cache
def _standard_optimizer(name: str, experiment: str) -> Config:
    """The optimizer's file, with what the experiment's file says of every optimizer."""
    optimizer, overrides = (
        yaml.safe_load((_CONF / f"{path}.yaml").read_text())
        for path in (f"optimizer/{name}", f"experiment/{experiment}")
    )
    return optimizer | overrides.get("optimizer", {})


def run_folder(config: Config) -> Path:
    """`runs_dir`/<scale>/<experiment>/<arm>/seed<k>."""
    scale, experiment = (_folder_name(key, config[key]) for key in ("scale", "experiment"))
    return (
        Path(config["runs_dir"]) / scale / experiment / arm_name(config) / f"seed{config['seed']}"
    )


def flatten(config: Config, prefix: str = "") -> Config:
    """Nested keys as dotted ones: {"lrd": {"p": 0.5}} to {"lrd.p": 0.5}."""
    flat: Config = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def hashed_part(config: Config) -> Config:
    """The dotted keys that change the numbers, without those at their default."""
    part: Config = {}
    for key, default in HASHED.items():
        value: Any = config
        for name in key.split("."):
            value = value.get(name, default) if isinstance(value, dict) else default
        if value is not default and value != default:
            part |= flatten({key: value}) if isinstance(value, dict) else {key: value}
    if not masked(config):
        part = {key: value for key, value in part.items() if not key.startswith("lrd.")}
    return {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in sorted(part.items())
        if not any(key == name or key.startswith(f"{name}.") for name in _NOT_HASHED)
        and value != HASHED.get(key, REQUIRED)  # a group's key at its default
    }


def config_hash(config: Config) -> str:
    """Sixteen hex digits that are the same for configurations that give the same numbers."""
    text = json.dumps(hashed_part(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: Config, new: Config) -> list[str]:
    """One line `key: old -> new` for each hashed key in which two configurations differ."""
    before, after = hashed_part(old), hashed_part(new)
    return [
        f"{key}: {before.get(key, 'default')} -> {after.get(key, 'default')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
