"""What a run is made of: data, net, optimizer and schedule, built from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from hydra.utils import get_method
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

import lrd
from data.batches import check_provenance
from experiments import processes, streams
from experiments.configuration import Config, ConfigError
from experiments.methods import active, masked
from experiments.schedule import scheduler
from experiments.tasks import task_module


class Setting(NamedTuple):
    """What a run is made of before it begins."""

    device: torch.device
    task: Any
    train: Any
    test: Any
    provenance: dict[str, Any]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds the state of."""
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}


def build(node: Config, *arguments: Any) -> Any:
    """Call the function or class that `_target_` names with the node's other keys but `name`."""
    keywords = {key: value for key, value in node.items() if key not in ("_target_", "name")}
    return get_method(node["_target_"])(*arguments, **keywords)


@contextmanager
def _named(group: str, node: Config) -> Iterator[None]:
    """ConfigError, with the arguments, for those that a constructor does not take."""
    try:
        yield
    except ConfigError:
        raise
    except (TypeError, ValueError, LookupError) as error:
        given = ", ".join(f"{key}={value}" for key, value in node.items() if key != "_target_")
        raise ConfigError(
            f"{group}: {node['_target_']} does not take {given}: {error} (HYDRA_FULL_ERROR=1 shows "
            "where)"
        ) from error


@processes.together
def prepare(config: Config) -> Setting:
    """Takes a checked configuration, returns what its run is made of. Nothing is written.

    Raises ConfigError, DataError, or WeightsError for pretrained weights that cannot be had.
    """
    device = processes.device(processes.device_name(config))
    task = task_module(config["task"])
    processes.check_run(config["batch_size"], task)
    data = _data(config, task)
    train_batches, test_batches = data.loaders(config["batch_size"], device)
    with streams.forked(config["seed"], "init"):
        node = net_node(config)
        with _named("model", node):
            model = build(node).to(device)
    if config["channels_last"] and device.type == "cuda":  # which would turn them at every step
        model = model.to(memory_format=torch.channels_last)
    model = processes.synchronised(model, device)
    optimizer = make_optimizer(config, model)
    schedule = scheduler(config["schedule"], optimizer, len(train_batches), config["epochs"])
    provenance = {**data.provenance, **_weights(config, model)}
    return Setting(
        device, task, train_batches, test_batches, provenance, model, optimizer, schedule
    )


def _data(config: Config, task: Any) -> Any:
    """The data set, which says where it is from; a task without one has a stand-in."""
    if "_target_" not in config["data"]:
        return task.data(config)
    with _named("data", config["data"]):
        data = build(config["data"])
    check_provenance(data.provenance)
    return data


def net_node(config: Config) -> Config:
    """The net's function and arguments, with those of the methods that change it."""
    node = dict(config["model"])
    for method, value in active(config):
        if method.net:
            node = method.net(node, value)
    return node


def _weights(config: Config, model: nn.Module) -> dict[str, str]:
    """What is known of pretrained weights from a file, whose path says nothing."""
    path = config["model"].get("weights_file")
    if path and config["model"].get("encoder_weights", "") is None:
        raise ConfigError(
            f"model.weights_file={path} is a file to take model.encoder_weights from, which is "
            "null, from scratch: name the weights, or leave the file out"
        )
    digests = [m.weights_sha256 for m in model.modules() if hasattr(m, "weights_sha256")]
    if path and not digests:
        raise ConfigError(
            f"model.weights_file={path}: {config['model']['_target_']} has not loaded it with "
            "models.weights.load_weights, which says what was read"
        )
    return {"weights_sha256": digests[0]} if path else {}


def make_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of an arm: its file's `base`, or with learning rate dropout its `lrd`.

    Raises ConfigError if its first step on a small parameter is not masked as the arm says.
    """
    node = _optimizer(config)
    probe = torch.nn.Parameter(torch.zeros(16, 16))
    probe.grad = torch.ones(16, 16)
    with _named("optimizer", node):
        build(node, [probe]).step()
    moved, expected = probe.detach() != 0, torch.ones(16, 16, dtype=torch.bool)
    if masked(config):
        how = {"seed": node["seed"], "step": 0, "index": 0, "mask": config["lrd"]["mask"]}
        expected = lrd.keep_mask((16, 16), node["keep_prob"], **how)
    if "rule" not in node and not torch.equal(moved, expected):
        raise ConfigError(
            f"{node['_target_']} moved {int(moved.sum())} of 256 parameters in a first step, "
            f"where {'its mask keeps' if masked(config) else 'the base arm moves'} "
            f"{int(expected.sum())}: an arm without learning rate dropout moves all, one with it "
            "those of lrd.keep_mask, as lrd.LearningRateDropout around an optimizer does"
        )
    params = getattr(model, "parameter_groups", model.parameters)  # a net may have its own groups
    return build(node, params())


def wrapped(
    params: Any,
    base: Config,
    *,
    keep_prob: float,
    seed: int,
    compile: bool | str,
    mask: str = "element",
    rescale: bool = False,
    **hyper: Any,
) -> lrd.LearningRateDropout:
    """Learning rate dropout around the optimizer of a file that has no `lrd:` of its own."""
    how = {"mask": mask, "rescale": rescale, "compile": compile}
    return lrd.LearningRateDropout(build({**base, **hyper}, params), keep_prob, seed, **how)


def ruled(params: Any, base: Config, rule: Config, seed: int, exempt: str) -> lrd.MaskedUpdate:
    """The optimizer `base` with a rule of the family, eagerly; `exempt` names groups without it."""

    groups = [
        {**group, "masked": False} if isinstance(group, dict) and exempt in group else group
        for group in params
    ]
    return lrd.MaskedUpdate(build(base, groups), build(rule), seed, compile=False)


def measures_steps(config: Config) -> bool:
    """Whether the task records the mean step, for which the base's own update must be seen."""
    return "mean_step" in task_module(config["task"]).COLUMNS


def _optimizer(config: Config) -> Config:
    """The optimizer's class and arguments, with those of the methods that change it."""
    settings = config["optimizer"]
    node = {key: value for key, value in settings.items() if key not in ("name", "base", "lrd")}
    if masked(config):
        mask = config["lrd"]
        own = None if measures_steps(config) else settings.get("lrd")
        node |= own or {"_target_": f"{__name__}.wrapped", "base": settings["base"]}
        node |= {"keep_prob": mask["p"], "compile": mask["compile"]}
        node["seed"] = streams.derive(config["seed"], "mask")
    else:
        node |= settings["base"]
    for method, value in active(config):
        if method.optimizer:
            node = method.optimizer(node, value, config)
    return node
