"""A configuration is resolved and checked here, once, before anything is made on disk."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import torch
import yaml
from hydra.utils import get_method

import lrd
from experiments.choice import with_chosen_rate
from experiments.configuration import CONF, Config, ConfigError, flatten
from experiments.identity import reference, run_folder
from experiments.methods import active, declared, masked
from experiments.processes import device_name, together
from experiments.record.files import LONGEST
from experiments.record.schema import CONFIG, OF_TASK, POSITIVE, SWITCH, Field, count
from experiments.schedule import factor_function
from experiments.tasks import task_module
from experiments.tracking import MODES

_OPEN = ("data", "model", "optimizer", "schedule")  # groups whose keys a function takes
_AS_RECORDED = (
    "epochs", "batch_size", "evaluate_every", "seed", "precision", "lrd.enabled", "optimizer.lr"
)  # fmt: skip


@together
def resolve(config: Config) -> Config:
    """The configuration, checked, with what `auto` and a chosen rate mean here; to be only read.

    Raises ConfigError, and NoChoice where there are no runs to choose the rate by.
    """
    check(config)
    if config["best_rate"]:
        config = with_chosen_rate(config)
    mask = config["lrd"]
    if mask["compile"] != "auto":
        return config
    kernel = masked(config) and not mask["authors"]
    kernel = kernel and lrd.kernel_available(device_name(config))
    return {**config, "lrd": {**mask, "compile": kernel}}


@together
def check(config: Config) -> None:
    """Raise ConfigError for the first key that is not known, or value that makes no sense."""
    plain = reference(config)
    _check_keys(config, plain)
    _check_methods(config, plain)
    _check_plain_values(config)
    _check_device(config)
    for group in ("model", "data"):
        _check_arguments(group, config[group].get("_target_"), config[group], ("name",))
    for package in ("base", "lrd"):
        node = config["optimizer"].get(package) or config["optimizer"]["base"]
        target = node["_target_"]
        _check_arguments("optimizer", target, config["optimizer"], ("name", "base", "lrd"))
    try:
        factor_function(config["schedule"])(0, 1, config["epochs"])
    except ValueError as error:
        raise ConfigError(f"schedule.{error}") from error
    try:
        task_module(config["task"])
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"task={config['task']}: {error}") from error
    _check_scale(config)
    run_folder(config)
    if (length := len(yaml.safe_dump(config))) > LONGEST:
        raise ConfigError(
            f"a configuration is recorded in at most {LONGEST:,} letters, this one has {length:,}: "
            "name what it lists by a file or a folder"
        )


def _check_keys(config: Config, plain: Config) -> None:
    """Keys beyond those of conf/ would do nothing, where no function takes them."""
    for key, group in plain.items():
        value = config.get(key)
        if isinstance(group, dict) != isinstance(value, dict):
            kind = f"a group, set as {key}.<key>=<value>" if isinstance(group, dict) else "a value"
            raise ConfigError(f"{key} must be {kind}, got {value!r}")
    known = flatten(plain).keys() | {method.key for method in declared(config)}
    open_groups = {*_OPEN} - ({"data"} if "_target_" not in config["data"] else set())
    for key in flatten(config):
        if key not in known and key.split(".")[0] not in open_groups:
            group = key.rpartition(".")[0]
            names = sorted(k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == group)
            raise ConfigError(
                f"unknown key {key}: {group or 'the configuration'} has {', '.join(names)}. "
                "A method of your own declares its key (conf/README.md)"
            )


def _check_methods(config: Config, plain: Config) -> None:
    """The methods' values, whether the experiment can have them, and which go together."""
    given, usual = flatten(config), flatten(plain)
    for method in declared(config):
        value = given.get(method.key, method.neutral)
        _require(method.valid(value), method.key, value, method.expected)
        idle = value in (usual.get(method.key), method.neutral)
        if method.key.startswith("lrd.") and not masked(config) and not idle:
            raise ConfigError(
                f"{method.key}={value} does nothing without lrd.enabled=true and lrd.p below "
                "1: set both, or leave it out (a sweep over p has its base at lrd.p=1)"
            )
    turned_on = active(config)
    for method, value in turned_on:
        if reason := method.obstacle(config):
            raise ConfigError(f"{method.key}={value}: {reason}")
    controls = [f"{method.key}={value}" for method, value in turned_on if method.control]
    if len(controls) > 1:
        raise ConfigError(f"{' and '.join(controls)}: choose one control for a run")


def _check_plain_values(config: Config) -> None:
    """Types and ranges of the keys that no function of a group takes."""
    subset = Field(lambda n: n is None or count(1).right(n), "null or a number")
    subsets = dict.fromkeys(("data.subset", "data.test_subset"), subset)
    rules = {
        **{key: CONFIG[key] for key in _AS_RECORDED},
        "lrd.compile": Field(lambda c: isinstance(c, bool) or c == "auto", "true, false or auto"),
        "threads": count(1),
        "checkpoint_minutes": POSITIVE,
        "clean_train": Field(
            lambda n: count(0).right(n) and (n == 0 or config["task"] == "classification"),
            "0, or a number of images where the task is classification",
        ),
        "predictions": count(0),
        "wandb.mode": Field(lambda mode: mode in MODES, " or ".join(MODES)),
        "deterministic": SWITCH,
        "channels_last": SWITCH,
        "compile_model": SWITCH,
        **OF_TASK.get(config["task"], {}),
        **subsets,
    }
    flat = flatten(config)
    for key, (right, expected, _) in rules.items():
        if key in flat or key not in subsets:
            _require(right(flat.get(key)), key, flat.get(key), expected)


def _check_device(config: Config) -> None:
    name = config["device"]
    try:
        device = torch.device("cpu" if name == "auto" else name)
        if device.type not in ("cpu", "cuda"):
            raise TypeError
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name}: torch finds no GPU here, choose auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name}: there are {torch.cuda.device_count()} GPUs here")
    if config["precision"] == "tf32" and not device_name(config).startswith("cuda"):
        raise ConfigError("precision=tf32 is an arithmetic of GPUs: choose fp32 or bf16 on a CPU")


def _check_arguments(group: str, target: str | None, node: Config, ours: tuple[str, ...]) -> None:
    """The keys of a group must be arguments of the function that it is built with."""
    if target is None:
        return
    try:
        parameters = signature(get_method(target)).parameters
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{group}: there is no function {target}: {error}") from error
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    if unknown := sorted(node.keys() - parameters.keys() - {"_target_", *ours}):
        takes = ", ".join(name for name in parameters if name not in ("self", "params"))
        raise ConfigError(f"unknown key {group}.{unknown[0]}: {target} takes {takes}")


def _check_scale(config: Config) -> None:
    """An experiment is only as small as its own file for the scale makes it."""
    scale, experiment = config["scale"], config["experiment"]
    name = f"scale_for/{scale}_{experiment}.yaml"
    if scale != "paper" and not (CONF / name).is_file():
        raise ConfigError(
            f"experiment {experiment} does not say what its scale {scale} is: write conf/{name}, "
            "or run it at scale=paper"
        )


def _require(right: bool, key: str, value: Any, expected: str) -> None:
    if not right:
        raise ConfigError(f"{key} must be {expected}, got {value!r}")
