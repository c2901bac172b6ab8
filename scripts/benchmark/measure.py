"""What the benchmarks share: timers that take turns, and a result of the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

BATCH = 128
KEEP_PROB = 0.5
FAST = {"compile": True}  # how an optimizer of lrd is told to take its fast step
Timer = Callable[[], float]


class Result(NamedTuple):
    """A row of the table: a ratio of two times, or one measured figure in `unit`."""

    part: str
    what: str
    ours: float | None = None  # milliseconds
    other: float | None = None  # milliseconds
    value: float = 0.0
    unit: str = ""  # empty for a ratio
    goal: float | None = None  # the value may be at most this
    note: str = ""
    ratios: tuple[float, ...] = ()  # round by round
    name: str = ""  # of what is ours
    against: str = ""  # what it is compared with
    parameters: int | None = None

    @property
    def met(self) -> str:
        """Whether the goal is met: yes, no, or nothing where there is none."""
        return "" if self.goal is None else ("yes" if self.value <= self.goal else "no")


def measure(timers: dict[str, Timer], rounds: int) -> dict[str, list[float]]:
    """Seconds of each timer in each round: they take turns, after a warm-up by the caller."""
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            seconds[name].append(timer())
    return seconds


def timed(function: Callable[[], object], repeat: int = 1) -> Timer:
    """A timer of the mean of `repeat` calls, in seconds, to the end of what a GPU has to do."""

    def timer() -> float:
        _wait()
        begin = time.perf_counter()
        for _ in range(repeat):
            function()
        _wait()
        return (time.perf_counter() - begin) / repeat

    return timer


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def compare(
    part: str,
    name: str,
    against: str,
    ours: list[float],
    other: list[float],
    *,
    size: str = "",
    **fields: Any,
) -> Result:
    """Takes two sides' seconds by round, returns their medians and the rounds' median ratio."""
    ratios = tuple(a / b for a, b in zip(ours, other, strict=True))
    times = milliseconds(ours), milliseconds(other)
    what = f"{name} / {against}" + (f", {size}" if size else "")
    fields |= {"ratios": ratios, "name": name, "against": against}
    return Result(part, what, *times, statistics.median(ratios), **fields)


def milliseconds(seconds: list[float]) -> float:
    """The median of `seconds`, in milliseconds."""
    return statistics.median(seconds) * 1e3


def race(timers: dict[str, Timer], rounds: int) -> dict[str, list[float]]:
    """`measure` after one call of each timer."""
    for timer in timers.values():
        timer()
    return measure(timers, rounds)


def random_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Copies of a model's parameters, with random gradients."""
    params = [nn.Parameter(param.detach().clone()) for param in model.parameters()]
    for param in params:
        param.grad = torch.randn_like(param)
    return params
