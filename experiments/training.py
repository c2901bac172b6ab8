"""What a training step is made of: optimizer, precision, rival methods, and an epoch's batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from hydra.utils import get_method
from torch.optim.lr_scheduler import LRScheduler

from experiments import naming, rivals, streams

Step = Callable[[Any, int], dict[str, torch.Tensor]]


def build(node: naming.Config, *arguments: Any, **more: Any) -> Any:
    """Call the function or class that `_target_` names with the node's other keys."""
    keywords = {key: value for key, value in node.items() if key != "_target_"}
    return get_method(node["_target_"])(*arguments, **keywords, **more)


def make_optimizer(config: naming.Config, model: torch.nn.Module) -> torch.optim.Optimizer:
    """torch.optim's own optimizer for a base arm, lrd's with the mask stream for the others."""
    settings = config["optimizer"]
    hyper = {k: v for k, v in settings.items() if k not in ("name", "base", "lrd")}
    hyper["lr"] = hyper["lr"] * config["lr_scale"]
    if not naming.masked(config):
        return build(settings["base"], model.parameters(), **hyper)
    masked = config["lrd"]
    if masked["rescale"]:
        hyper["lr"] = hyper["lr"] / masked["p"]
    authors = {"_target_": "experiments.rivals.AuthorsRMSprop"}
    return build(
        authors if masked["authors"] else settings["lrd"],
        model.parameters(),
        **hyper,
        keep_prob=masked["p"],
        seed=streams.derive(config["seed"], "mask"),
        compile=masked["compile"],
    )


def make_step(
    config: naming.Config, task: Any, model: Any, optimizer: Any, schedule: LRScheduler
) -> Step:
    """A training step: a batch and the step's number, from 0, to the sums of the task's columns.

    Code that knows only torch's global generator (dropout) runs on the step's own stream.
    """
    parameters = list(model.parameters())
    device = parameters[0].device
    # torch's own for all devices takes a millisecond where there is no GPU
    seed = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    change = rivals.gradient_change(config)
    if config["channels_last"]:
        model.register_forward_pre_hook(_channels_last)
    if config["compile_model"]:
        model.compile()

    def step(batch: Any, number: int) -> dict[str, torch.Tensor]:
        seed(streams.derive(config["seed"], "dropout", number))
        optimizer.zero_grad(set_to_none=True)
        with autocast(config, device):
            loss, sums = task.loss(model, batch)
        loss.backward()
        if change is not None:
            change([each.grad for each in parameters if each.grad is not None], number)
        optimizer.step()
        schedule.step()
        return sums

    return step


def autocast(config: naming.Config, device: torch.device) -> torch.autocast:
    """bfloat16 where torch's rules allow it, with precision=bf16."""
    enabled = config["precision"] == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _channels_last(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    return tuple(each.contiguous(memory_format=torch.channels_last) for each in inputs)


def epoch_batches(config: naming.Config, train: Any, epoch: int, start: int = 0) -> Iterator[Any]:
    """An epoch's batches from number `start` on: its order, augmentation and, with noisy label,
    labels."""
    seed, rate = config["seed"], config["regularizer"]["noisy_label"]
    order, augmentation, labels = (
        streams.generator(seed, name, epoch) for name in ("order", "augmentation", "labels")
    )
    if rate == 0:
        return train.epoch(order, augmentation, start)
    noisy = rivals.noisy_labels(train.labels, rate, config["model"]["num_classes"], labels)
    return train.epoch(order, augmentation, start, noisy)


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
