"""Checks of a resolved configuration before anything is made on disk."""

from __future__ import annotations

from typing import Any

from experiments.naming import Config, arm_name
from experiments.tracking import MODES


class ConfigError(ValueError):
    """A configuration value that makes no sense; the message names key, value and range."""


def check(config: Config) -> None:
    """Raise ConfigError for the first value out of its range."""
    p = config["lrd"]["p"]
    _require(_number(p) and 0 < p <= 1, "lrd.p", p, "a number in (0, 1], the share of updates kept")
    _require(isinstance(config["lrd"]["enabled"], bool), "lrd.enabled", None, "true or false")
    compile = config["lrd"]["compile"]
    _require(compile in (True, False, "auto"), "lrd.compile", compile, "true, false or auto")
    for key in ("epochs", "batch_size", "threads"):
        value = config[key]
        _require(_integer(value) and value > 0, key, value, "a positive integer")
    seed = config["seed"]
    _require(_integer(seed) and seed >= 0, "seed", seed, "an integer that is not negative")
    rate = config["optimizer"]["lr"]
    _require(_number(rate) and rate > 0, "optimizer.lr", rate, "a positive number")
    scale = config["lr_scale"]
    _require(_number(scale) and scale > 0, "lr_scale", scale, "a positive number")
    mode = config["wandb"]["mode"]
    _require(mode in MODES, "wandb.mode", mode, " or ".join(MODES))
    _require(config["precision"] == "fp32", "precision", config["precision"], "fp32")
    schedule = config["schedule"]["name"]
    _require(schedule == "constant", "schedule.name", schedule, "constant")
    try:
        arm_name(config)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _require(right: bool, key: str, value: Any, expected: str) -> None:
    if not right:
        raise ConfigError(f"{key} must be {expected}, got {value!r}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
