"""What the first of several processes does for all, and the others only take part in.

The others keep the same rows and hear the same requests, and write and show nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from experiments.identity import Config
from experiments.processes import first, share_error, size
from experiments.record.checkpoint import Checkpoints
from experiments.record.writer import Record
from experiments.signals import Interrupted, Interruption

Value = TypeVar("Value")


def interruption() -> Interruption:
    """What hears of signals: to this process, or to any."""
    return Interruption() if size() == 1 else SharedInterruption()


def record(config: Config) -> Record:
    """The run's record, which the first process writes."""
    return Record(config) if first() else FollowersRecord(config)


def checkpoints(*arguments: Any) -> Checkpoints:
    """The run's checkpoints, which the first process writes."""
    return Checkpoints(*arguments) if first() else FollowersCheckpoints(*arguments)


def shown(kind: Callable[..., Value], *arguments: Any) -> Value | Unseen:
    """A tracker or a bar, made on the first process alone."""
    return kind(*arguments) if first() else Unseen()


class SharedInterruption(Interruption):
    """A signal to any process as a request to all, which they answer at the same step."""

    def __init__(self) -> None:
        super().__init__()
        self._heard, self._flag = 0, torch.zeros((), dtype=torch.int64)
        self._asking: dist.Work | None = None

    def _note(self, number: int, _: object) -> None:
        self._heard = number
        self._restore()

    def agree(self, alone: bool = False) -> None:
        if alone:
            self._number = self._heard
            return
        # The answer is that of the last call, so that nobody waits for it
        if self._asking is not None:
            self._asking.wait()
            self._number = int(self._flag)
        self._flag.fill_(self._heard)
        self._asking = dist.all_reduce(self._flag, dist.ReduceOp.MAX, async_op=True)

    def check(self) -> None:
        if self._number:
            share_error(Interrupted(self._number))

    def __exit__(self, kind: Any, *others: object) -> None:
        super().__exit__(kind, *others)
        if kind is None and self._asking is not None:
            self._asking.wait()


class FollowersRecord(Record):
    """The record on the processes that do not write it: its rows, and nothing on disk."""

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, device: torch.device, data: Config, state: Config | None) -> None:
        if state:
            self._rows, self._seconds = list(state["rows"]), list(state["seconds"])

    def _write(self, *_: object) -> None:
        pass

    def save_predictions(self, predictions: Config) -> None:
        pass

    def finish(self, status: str, **more: Any) -> None:
        pass


class FollowersCheckpoints(Checkpoints):
    """The checkpoints on the processes that do not write them."""

    def due(self, epoch_ended: bool) -> bool:
        return False

    def save(self, position: Config) -> None:
        pass

    def keep_model(self) -> None:
        pass


class Unseen:
    """What a process that shows nothing has for a tracker or a bar: any method, to no effect."""

    def __enter__(self) -> Unseen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None
