"""Checks of a resolved configuration before anything is made on disk."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from hydra.utils import get_method

from experiments.identity import Config, masked, run_folder
from experiments.schedule import NAMES
from experiments.tracking import MODES

PRECISIONS = ("fp32", "bf16")
_GROUPS = ("lrd", "regularizer", "schedule", "wandb")  # Hydra itself asks for the others
_REGULARIZERS = {
    "p_sd": (lambda p: 0 < p <= 1, "a number in (0, 1], the share of units kept"),
    "noisy_label": (lambda rate: 0 <= rate <= 1, "a number in [0, 1], the share of labels drawn"),
    "noisy_gradient": (lambda eta: eta >= 0, "a variance, not negative"),
    "dropout_gradient": (lambda p: 0 < p <= 1, "a number in (0, 1], the share of gradients kept"),
}


class ConfigError(ValueError):
    """A configuration value that makes no sense; the message names key, value and range."""


def check(config: Config) -> None:
    """Raise ConfigError for the first value out of its range."""
    for key in _GROUPS:
        group = config[key]
        _require(isinstance(group, dict), key, group, f"a group, set as {key}.<key>=<value>")
    p = config["lrd"]["p"]
    _require(_number(p) and 0 < p <= 1, "lrd.p", p, "a number in (0, 1], the share of updates kept")
    enabled = config["lrd"]["enabled"]
    _require(isinstance(enabled, bool), "lrd.enabled", enabled, "true or false")
    compile = config["lrd"]["compile"]
    right = isinstance(compile, bool) or compile == "auto"
    _require(right, "lrd.compile", compile, "true, false or auto")
    for key in ("subset", "test_subset"):
        count = config["data"].get(key)
        _require(count is None or _integer(count), f"data.{key}", count, "null or a number")
    _check_scaling(config["data"])
    _check_device(config["device"])
    for package in ("base", "lrd"):
        more = sorted(set(config["optimizer"][package]) - {"_target_", "fused", "foreach"})
        if more:
            raise ConfigError(
                f"optimizer.{package}.{more[0]} would change one of the two arms alone: set "
                f"optimizer.{more[0]} for both"
            )
    for key in ("epochs", "batch_size", "threads"):
        value = config[key]
        _require(_integer(value) and value > 0, key, value, "a positive integer")
    seed = config["seed"]
    _require(_integer(seed) and seed >= 0, "seed", seed, "an integer that is not negative")
    rate = config["optimizer"]["lr"]
    _require(_number(rate) and rate > 0, "optimizer.lr", rate, "a positive number")
    scale = config["lr_scale"]
    _require(_number(scale) and scale > 0, "lr_scale", scale, "a positive number")
    minutes = config["checkpoint_minutes"]
    _require(_number(minutes) and minutes > 0, "checkpoint_minutes", minutes, "a positive number")
    count = config["predictions"]
    _require(_integer(count) and count >= 0, "predictions", count, "a number of images")
    mode = config["wandb"]["mode"]
    _require(mode in MODES, "wandb.mode", mode, " or ".join(MODES))
    precision = config["precision"]
    _require(precision in PRECISIONS, "precision", precision, " or ".join(PRECISIONS))
    for key in ("channels_last", "compile_model"):
        _require(isinstance(config[key], bool), key, config[key], "true or false")
    _check_schedule(config["schedule"])
    _check_methods(config)
    try:
        run_folder(config)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_scaling(data: Config) -> None:
    standardised = data.get("standardised", True)
    right = isinstance(standardised, bool)
    _require(right, "data.standardised", standardised, "true or false")
    name = data.get("_target_")
    if standardised:
        return
    if not name or "standardised" not in signature(get_method(name)).parameters:
        raise ConfigError(
            f"data.standardised=false: {name or 'a task without data'} cannot leave pixels in "
            "[0, 1], mnist and digits can"
        )


def _check_device(name: Any) -> None:
    try:
        device = torch.device("cpu" if name == "auto" else name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name}: torch finds no GPU here, choose auto or cpu")


def _check_schedule(schedule: Config) -> None:
    name = schedule["name"]
    _require(name in NAMES, "schedule.name", name, " or ".join(NAMES))
    warmup = schedule.get("warmup", 0)
    _require(_integer(warmup) and warmup >= 0, "schedule.warmup", warmup, "a number of steps")
    if name == "steps":
        at, gamma = schedule.get("at"), schedule.get("gamma")
        fractions = isinstance(at, list) and all(_number(each) and 0 < each < 1 for each in at)
        _require(fractions, "schedule.at", at, "a list of fractions of the epochs in (0, 1)")
        _require(_number(gamma) and gamma > 0, "schedule.gamma", gamma, "a positive number")
    if name == "poly":
        power = schedule.get("power")
        _require(_number(power) and power > 0, "schedule.power", power, "a positive number")


def _check_methods(config: Config) -> None:
    """The rival methods' numbers, and which of them go together."""
    regularizer, lrd = config["regularizer"], config["lrd"]
    unknown = sorted(set(regularizer) - set(_REGULARIZERS))
    _require(not unknown, "regularizer", unknown, f"among {', '.join(_REGULARIZERS)}")
    for key, (right, expected) in _REGULARIZERS.items():
        value = regularizer[key]
        _require(_number(value) and right(value), f"regularizer.{key}", value, expected)
    if regularizer["noisy_label"] and config["task"] != "classification":
        raise ConfigError(f"regularizer.noisy_label is for classification, not {config['task']}")
    model = config["model"]["_target_"]
    if regularizer["p_sd"] != 1 and "p_sd" not in signature(get_method(model)).parameters:
        raise ConfigError(f"regularizer.p_sd: {model} has no standard dropout, resnet34 has")
    for key in ("rescale", "authors"):
        _require(isinstance(lrd[key], bool), f"lrd.{key}", lrd[key], "true or false")
        if lrd[key] and not masked(config):
            raise ConfigError(f"lrd.{key}=true needs lrd.enabled=true and lrd.p below 1")
    if lrd["authors"] and config["optimizer"]["name"] != "rmsprop":
        raise ConfigError(
            "lrd.authors=true is the authors' variant of rmsprop, got optimizer="
            f"{config['optimizer']['name']}"
        )
    controls = [
        f"{key}={value}"
        for key, value, neutral in (
            ("lrd.rescale", lrd["rescale"], False),
            ("lrd.authors", lrd["authors"], False),
            ("lr_scale", config["lr_scale"], 1),
        )
        if value != neutral
    ]
    if len(controls) > 1:
        raise ConfigError(f"{' and '.join(controls)}: choose one control for a run")


def _require(right: bool, key: str, value: Any, expected: str) -> None:
    if not right:
        raise ConfigError(f"{key} must be {expected}, got {value!r}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
