"""A training step, an epoch of them, an evaluation, and how far a run is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from experiments import processes, streams
from experiments.configuration import Config
from experiments.mean_step import MeanStep
from experiments.methods import gradient_change, label_change
from experiments.precision import autocast
from experiments.setting import Setting, measures_steps

Step = Callable[[Any, int, int], dict[str, Tensor]]
Pause = Callable[..., None]


def make_step(config: Config, setting: Setting) -> Step:
    """Takes a setting, returns its training step.

    The step takes a batch, its number from 0, and the number of its samples; it returns the task's
    training columns as sums over them. Code that knows only torch's global generator (dropout)
    runs on the step's own stream; every process after the first has one of its own, since its
    units are others.
    """
    device, task, model = setting.device, setting.task, setting.model
    optimizer, schedule = setting.optimizer, setting.schedule
    parameters = list(model.parameters())
    # torch's own for all devices takes a millisecond where there is no GPU
    seed = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    change = gradient_change(config)
    measured = MeanStep(optimizer) if measures_steps(config) else None
    if config["channels_last"]:
        model.register_forward_pre_hook(channels_last)
    if config["compile_model"]:
        torch.compiler.reset()  # a process keeps eight graphs: a sweep's nets would be eager then
        model.compile(dynamic=False)
    replica = processes.replicated(model)
    own_stream = (processes.rank(),) if processes.rank() else ()

    def step(batch: Any, number: int, count: int) -> dict[str, Tensor]:
        seed(streams.derive(config["seed"], "dropout", number, *own_stream))
        optimizer.zero_grad(set_to_none=True)
        with _stance(config, count), autocast(config, device):
            loss, sums = task.loss(replica, batch)
        if processes.size() > 1:
            loss, sums = processes.share(loss, sums, task.weight(model, batch), count)
        loss.backward()
        if change is not None:
            change([p.grad for p in parameters if p.grad is not None], number)
        optimizer.step()
        schedule.step()
        if measured is not None:
            sums["mean_step"] = measured.ratio() * count
        return sums

    return step


def _stance(config: Config, count: int) -> AbstractContextManager[Any]:
    """A compiled net is not compiled once more for an epoch's last batch, if that is short."""
    if config["compile_model"] and count < config["batch_size"]:
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


def channels_last(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """Images (N, C, H, W) with their channels last; other inputs as they are."""
    last = torch.channels_last
    return tuple(x.contiguous(memory_format=last) if x.ndim == 4 else x for x in inputs)


def epoch_batches(config: Config, train: Any, epoch: int, start: int = 0) -> Iterator[Any]:
    """Takes an epoch's number, returns its batches from number `start` on.

    They have the epoch's order, augmentation and, with noisy label, labels; one of several
    processes gets its share of every batch.
    """
    order, augmentation = (
        streams.generator(config["seed"], name, epoch) for name in ("order", "augmentation")
    )
    share = processes.part if processes.size() > 1 else None
    change = label_change(config, epoch)
    labels = () if change is None else (change(train.labels),)
    return train.epoch(order, augmentation, start, *labels, part=share)


def train_epoch(
    config: Config, setting: Setting, step: Step, position: Position, pause: Pause
) -> dict[str, float]:
    """Train from `position` to its epoch's end; returns the task's columns as means per sample."""
    begin = time.perf_counter() - position.seconds
    batches = epoch_batches(config, setting.train, position.epoch, position.step)
    for batch, count in zip(batches, setting.train.counts(position.step), strict=True):
        position.sums.add(step(batch, position.number, count), count)
        position.step += 1
        position.seconds = time.perf_counter() - begin
        pause()
    means = position.sums.means()  # the only place where an epoch waits for the device
    position.seconds = time.perf_counter() - begin
    return means


@processes.on_first
def evaluate(config: Config, setting: Setting, pause: Pause) -> dict[str, float]:
    """The task's columns of the test set."""

    def batches() -> Iterable[Any]:
        for batch in setting.test:
            pause(alone=True)
            yield batch

    task, model = setting.task, setting.model
    with autocast(config, setting.device):
        row = task.evaluate(model, batches())
        if count := config["clean_train"]:  # in whole batches, in the data set's order
            clean = islice(setting.train, -(-count // config["batch_size"]))
            row["clean_accuracy"] = task.evaluate(model, clean)[task.RESULT]
    return row


def evaluated_columns(config: Config, setting: Setting, trained: dict[str, Any]) -> list[str]:
    """The names of `evaluate`'s columns: all of the task but those that training has filled."""
    columns = setting.task.COLUMNS.items()
    names = [name for name, column in columns if name not in trained and not column.optional]
    return [*names, "clean_accuracy"] if config["clean_train"] else names


@processes.on_first
def save_files(config: Config, setting: Setting, save: Callable[[str, Any], None]) -> None:
    """Save what the task keeps beside the numbers.

    That is what `predict(model, batches, count)` returns of the first test images, as many as the
    configuration asks for, and each file of which `files(config, model, batches)` returns the
    content.
    """
    task, rest, contents = setting.task, (setting.model, setting.test), {}
    with autocast(config, setting.device):
        if config["predictions"] and hasattr(task, "predict"):
            contents["predictions.pt"] = task.predict(*rest, config["predictions"])
        if hasattr(task, "files"):
            contents |= task.files(config, *rest)
    for name, content in contents.items():
        save(name, content)


class Sums:
    """The task's columns summed over the samples of an epoch, on the device.

    The loop never waits for them: `means`, at the epoch's end, and `state` do.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {"names": [], "totals": 0.0, "count": 0}
        self._names: list[str] = state["names"]
        self._totals = torch.tensor(state["totals"], dtype=torch.float64)
        self._count: int = state["count"]

    def add(self, sums: dict[str, Tensor], count: int) -> None:
        """Add a batch of `count` samples; a task may have no training columns."""
        self._count += count
        if not sums:
            return
        values = torch.stack([value.detach().double() for value in sums.values()])
        self._names = list(sums)
        self._totals = self._totals.to(values.device) + values

    def means(self) -> dict[str, float]:
        """The columns as means per sample."""
        if not self._names:
            return {}
        return dict(zip(self._names, (self._totals / self._count).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"names": self._names, "totals": self._totals.tolist(), "count": self._count}


class Position:
    """How far a run is: `step` batches of `epoch` are done, in `seconds` of training."""

    def __init__(self, steps: int, state: dict[str, Any] | None) -> None:
        state = state or {"epoch": 1, "step": 0, "epoch_seconds": 0.0, "sums": None}
        self._steps = steps  # of an epoch
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
