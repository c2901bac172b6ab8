"""What a run is made of, what a training step is, and an epoch's batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.utils import get_method
from torch.optim.lr_scheduler import LRScheduler

import lrd
from experiments import identity, methods, processes, streams
from experiments.schedule import scheduler

Step = Callable[[Any, int, int], dict[str, torch.Tensor]]


def build(node: identity.Config, *arguments: Any, **more: Any) -> Any:
    """Call the function or class that `_target_` names with the node's other keys."""
    keywords = {key: value for key, value in node.items() if key != "_target_"}
    return get_method(node["_target_"])(*arguments, **keywords, **more)


class Setting(NamedTuple):
    """What a run is made of before it begins."""

    device: torch.device
    task: Any
    train: Any
    test: Any
    provenance: dict[str, Any]
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds the state of."""
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}


def prepare(config: identity.Config, device: torch.device, task: Any) -> Setting:
    """Data, net, optimizer and schedule of a configuration, whose lrd.compile it resolves."""
    processes.check_batch(config["batch_size"])
    data = build(config["data"])
    train_batches, test_batches = data.loaders(config["batch_size"], device)
    with streams.forked(config["seed"], "init"):
        model = build(config["model"], **_standard_dropout(config)).to(device)
    model = processes.synchronised(model, device)
    provenance = {**data.provenance, **_weights(config)}
    epochs, steps = config["epochs"], len(train_batches)
    _resolve_compile(config, device)
    optimizer = make_optimizer(config, model)
    schedule = scheduler(config["schedule"], optimizer, steps, epochs)
    return Setting(
        device, task, train_batches, test_batches, provenance, model, optimizer, schedule
    )


def _standard_dropout(config: identity.Config) -> dict[str, float]:
    p_sd = config["regularizer"]["p_sd"]
    return {} if p_sd == 1 else {"p_sd": p_sd}


def _weights(config: identity.Config) -> dict[str, str]:
    """What is known of pretrained weights from a file, whose path says nothing."""
    path = config["model"].get("weights_file")
    return {"weights_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()} if path else {}


def _resolve_compile(config: identity.Config, device: torch.device) -> None:
    """Replace `lrd.compile: auto` by what it means on this machine."""
    if config["lrd"]["compile"] == "auto":
        masked = identity.masked(config) and not config["lrd"]["authors"]
        config["lrd"]["compile"] = masked and lrd.kernel_available(device)


def make_optimizer(config: identity.Config, model: torch.nn.Module) -> torch.optim.Optimizer:
    """torch.optim's own optimizer for a base arm, lrd's with the mask stream for the others."""
    settings = config["optimizer"]
    hyper = {k: v for k, v in settings.items() if k not in ("name", "base", "lrd")}
    hyper["lr"] = hyper["lr"] * config["lr_scale"]
    if not identity.masked(config):
        return build(settings["base"], model.parameters(), **hyper)
    masked = config["lrd"]
    if masked["rescale"]:
        hyper["lr"] = hyper["lr"] / masked["p"]
    authors = {"_target_": "experiments.methods.AuthorsRMSprop"}
    return build(
        authors if masked["authors"] else settings["lrd"],
        model.parameters(),
        **hyper,
        keep_prob=masked["p"],
        seed=streams.derive(config["seed"], "mask"),
        compile=masked["compile"],
    )


def make_step(
    config: identity.Config, task: Any, model: Any, optimizer: Any, schedule: LRScheduler
) -> Step:
    """A training step: from a batch, the step's number, from 0, and how many samples it is of to
    the sums of the task's columns.

    Code that knows only torch's global generator (dropout) runs on the step's own stream; of
    several processes, each of the later ones on one more, since its units are others.
    """
    parameters = list(model.parameters())
    device = parameters[0].device
    # torch's own for all devices takes a millisecond where there is no GPU
    seed = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    change = methods.gradient_change(config)
    if config["channels_last"]:
        model.register_forward_pre_hook(_channels_last)
    if config["compile_model"]:
        model.compile()
    replica = processes.replicated(model)
    later = (processes.rank(),) if processes.rank() else ()

    def step(batch: Any, number: int, count: int) -> dict[str, torch.Tensor]:
        seed(streams.derive(config["seed"], "dropout", number, *later))
        optimizer.zero_grad(set_to_none=True)
        with autocast(config, device):
            loss, sums = task.loss(replica, batch)
        if processes.size() > 1:
            loss, sums = processes.share(loss, sums, task.weight(model, batch), count)
        loss.backward()
        if change is not None:
            change([each.grad for each in parameters if each.grad is not None], number)
        optimizer.step()
        schedule.step()
        return sums

    return step


def autocast(config: identity.Config, device: torch.device) -> torch.autocast:
    """bfloat16 where torch's rules allow it, with precision=bf16."""
    enabled = config["precision"] == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _channels_last(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    return tuple(each.contiguous(memory_format=torch.channels_last) for each in inputs)


def epoch_batches(config: identity.Config, train: Any, epoch: int, start: int = 0) -> Iterator[Any]:
    """An epoch's batches from number `start` on: its order, augmentation and, with noisy label,
    labels; of several processes, this one's part of each."""
    seed, rate = config["seed"], config["regularizer"]["noisy_label"]
    order, augmentation, labels = (
        streams.generator(seed, name, epoch) for name in ("order", "augmentation", "labels")
    )
    part = processes.part if processes.size() > 1 else None
    if rate == 0:
        return train.epoch(order, augmentation, start, part=part)
    noisy = methods.noisy_labels(train.labels, rate, config["model"]["num_classes"], labels)
    return train.epoch(order, augmentation, start, noisy, part=part)


class Sums:
    """The task's columns summed over the samples of an epoch, on the device.

    The loop never waits for them: `means`, at the epoch's end, and `state` do.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._names: list[str] = state["names"] if state else []
        self._totals: Any = torch.tensor(state["totals"], dtype=torch.float64) if state else 0.0
        self._count: int = state["count"] if state else 0

    def add(self, sums: dict[str, torch.Tensor], count: int) -> None:
        """Add a batch of `count` samples."""
        values = torch.stack([value.detach().double() for value in sums.values()])
        if not self._count:
            self._names, self._totals = list(sums), torch.zeros_like(values)
        self._totals = self._totals.to(values.device) + values
        self._count += count

    def means(self) -> dict[str, float]:
        """The columns as means per sample."""
        return dict(zip(self._names, (self._totals / self._count).tolist(), strict=True))

    def state(self) -> dict[str, Any] | None:
        """For a checkpoint; None before the first batch."""
        if not self._count:
            return None
        return {"names": self._names, "totals": self._totals.tolist(), "count": self._count}


class Position:
    """How far a run is: `step` batches of `epoch` are done, in `seconds` of training."""

    def __init__(self, steps_per_epoch: int, state: dict[str, Any] | None = None) -> None:
        state = state or {"epoch": 1, "step": 0, "epoch_seconds": 0.0, "sums": None}
        self._steps = steps_per_epoch
        self.epoch: int = state["epoch"]
        self.step: int = state["step"]
        self.seconds: float = state["epoch_seconds"]
        self.sums = Sums(state["sums"])

    @property
    def number(self) -> int:
        """Steps since the run's beginning."""
        return (self.epoch - 1) * self._steps + self.step

    def next_epoch(self) -> None:
        self.epoch, self.step, self.seconds, self.sums = self.epoch + 1, 0, 0.0, Sums()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "epoch_seconds": self.seconds,
            "sums": self.sums.state(),
        }
