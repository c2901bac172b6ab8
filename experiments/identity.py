"""What identifies a run: its arm's name, its folder and the hash of its configuration.

Configurations are plain nested dicts, as `OmegaConf.to_container(resolve=True)` gives them. What a
run differs by from its experiment at its scale is in its arm's name, so that two different runs
never have one folder.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from experiments.configuration import CONF, Config, ConfigError, choices, flatten
from experiments.methods import declared, masked

# The keys that change no number: paths, names, the machine, and how data is held in memory. The
# optimizer's classes must be those of its file, and `methods` only names modules.
_NOT_HASHED = {
    "experiment", "scale", "device", "checkpoint_minutes", "clean_train", "predictions",
    "runs_dir", "wandb", "resources", "methods", "data.name", "data.root", "data.cache",
    "data.workers", "model.name", "model.weights_file", "optimizer.base", "optimizer.lrd",
}  # fmt: skip
# Values at which a key is left out of the hash, so that a key that is added later does not orphan
# the runs that were made before it; methods are left out where they are neutral.
_DEFAULTS = {
    "precision": "fp32", "deterministic": False, "channels_last": False,
    "compile_model": False, "threads": 1, "evaluate_every": 1,
}  # fmt: skip
_NO_SCHEDULE = {"schedule.name": "constant"}
CHOOSING = "_choice"  # how an experiment's name ends that chooses learning rates for another
_IN_NO_NAME = {"seed"}


def hashed_part(config: Config) -> Config:
    """The dotted keys that change the numbers, without those at their default."""
    defaults = _DEFAULTS | {method.key: method.neutral for method in declared(config)}
    flat = {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in sorted(flatten(config).items())
        if not any(key == name or key.startswith(f"{name}.") for name in _NOT_HASHED)
        and (masked(config) or not key.startswith("lrd."))
        and not (key in defaults and value == defaults[key])
    }
    schedule = {key: value for key, value in flat.items() if key.startswith("schedule.")}
    if schedule == _NO_SCHEDULE:
        del flat["schedule.name"]
    return flat


def config_hash(config: Config) -> str:
    """Sixteen hex digits that are the same for configurations that give the same numbers."""
    return digest_of(hashed_part(config))


def digest_of(hashed: Config) -> str:
    """Takes the hashed part of a configuration, returns its hash."""
    text = json.dumps(hashed, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: Config, new: Config) -> list[str]:
    """One line `key: old -> new` for each hashed key in which two configurations differ."""
    before, after = hashed_part(old), hashed_part(new)
    return [
        f"{key}: {before.get(key, 'default')} -> {after.get(key, 'default')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def reference(config: Config) -> Config:
    """The configuration of a run's experiment at its scale with its optimizer, and nothing else.

    Raises ConfigError if conf/ has no such experiment, scale or optimizer.
    """
    names = config["experiment"], config["scale"], config["optimizer"]["name"]
    return _reference(*map(str, names))


@functools.cache
def _reference(experiment: str, scale: str, optimizer: str) -> Config:
    for group, name in (("experiment", experiment), ("scale", scale), ("optimizer", optimizer)):
        if not (CONF / group / f"{name}.yaml").is_file():
            known = ", ".join(choices(group))
            raise ConfigError(
                f"{group} {name!r} has no file conf/{group}/{name}.yaml; there are: {known}"
            )
    words = [f"experiment={experiment}", f"scale={scale}", f"optimizer={optimizer}"]
    own = GlobalHydra.instance()  # Hydra has one state, which a job is inside of
    state = own.hydra
    own.clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return OmegaConf.to_container(compose("config", words), resolve=True)
    except HydraException as error:
        raise ConfigError(f"{' '.join(words)} cannot be composed: {error}") from error
    finally:
        own.clear()
        if state is not None:
            own.initialize(state)


def chooser(experiment: str) -> str:
    """The experiment whose runs choose a learning rate for one: `mnist_choice`, or itself."""
    other = experiment + CHOOSING
    return other if (CONF / "experiment" / f"{other}.yaml").is_file() else experiment


def tuned(experiment: str) -> tuple[str, ...]:
    """The optimizer's keys that best_rate=true chooses for an experiment."""
    return ("lr",) if chooser(experiment) == experiment else ("lr", "weight_decay")


def arm_name(config: Config) -> str:
    """What differs from the experiment's plain optimizer: `adam`, `adam+lrd0.5`, `adam+lr=0.01`.

    Raises ConfigError where the difference is another experiment's.
    """
    plain = reference(config)
    _check_classes(config, plain)
    words = [config["optimizer"]["name"]]
    values = [(method, method.value(config), method.value(plain)) for method in declared(config)]
    words += [method.word(value) for method, value, usual in values if value != usual]
    named = _IN_NO_NAME | {method.key for method in declared(config)}
    if config.get("best_rate"):
        named |= {f"optimizer.{key}" for key in tuned(config["experiment"])}  # which it chooses
    before, after = hashed_part(plain), hashed_part(config)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key) and key not in named and not key.startswith("lrd."):
            value = after.get(key, _DEFAULTS.get(key))
            text = f"{value:g}" if isinstance(value, float) else str(value)
            words.append(f"{key.removeprefix('optimizer.')}={text}")
    if masked(config) and plain["lrd"]["compile"] not in ("auto", config["lrd"]["compile"]):
        words.append(f"lrd.compile={config['lrd']['compile']}")
    return _folder_name("an arm's name", "+".join(words))


def _check_classes(config: Config, plain: Config) -> None:
    """An arm is its experiment's task, data and net, and its optimizer file's classes."""
    for group in ("base", "lrd"):
        given, expected = (node["optimizer"].get(group) or {} for node in (config, plain))
        if given != expected:
            raise ConfigError(
                f"optimizer.{group} is {given}, conf/optimizer/{plain['optimizer']['name']}.yaml "
                f"has {expected}: another class, or arguments of one arm alone, need a file and a "
                "name of their own; hyper-parameters of both arms are set as optimizer.<key>=…"
            )
    for key in ("task", "data._target_", "model._target_"):
        given, expected = (flatten(node).get(key) for node in (config, plain))
        if given != expected:
            raise ConfigError(
                f"{key.partition('.')[0]} is {given}, experiment {config['experiment']} at scale "
                f"{config['scale']} has {expected}: write an experiment of your own, a few lines "
                "in conf/experiment (conf/README.md)"
            )


def _folder_name(what: str, name: str) -> str:
    """The name itself; ConfigError for one that could lead out of its folder, or be hidden."""
    if not re.fullmatch(r"\w[\w.+=,\[\] -]*", name) or len(name) > 200:
        raise ConfigError(
            f"{what} becomes a folder's name of at most 200 letters, digits and .+=,[]-, got "
            f"{name!r}: write an experiment of your own in conf/experiment (conf/README.md)"
        )
    return name


def run_folder(config: Config) -> Path:
    """`runs_dir`/<scale>/<experiment>/<arm>/seed<k>."""
    scale, experiment = (_folder_name(key, config[key]) for key in ("scale", "experiment"))
    return (
        Path(config["runs_dir"]).expanduser()
        / scale
        / experiment
        / arm_name(config)
        / f"seed{config['seed']}"
    )


def place_of(folder: Path) -> str:
    """A run folder's name in notes: `mnist/adam/seed1`."""
    return "/".join(folder.parts[-3:])
