"""Configurations: plain nested dicts, as `OmegaConf.to_container(resolve=True)` gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Config = dict[str, Any]
CONF = Path(__file__).parent.parent / "conf"


class ConfigError(ValueError):
    """A configuration that makes no sense; the message names key, value and what to do."""


def choices(group: str) -> list[str]:
    """The files of a group of conf/, without their ending."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def flatten(config: Config, prefix: str = "") -> Config:
    """Nested keys as dotted ones: {"lrd": {"p": 0.5}} to {"lrd.p": 0.5}."""
    flat: Config = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def is_evaluated(config: Config, epoch: int) -> bool:
    """Whether an epoch, from 1, is one after which the net is evaluated."""
    return epoch % config.get("evaluate_every", 1) == 0 or epoch == config["epochs"]
