"""Learning rate schedules: each a pure function from a step to the rate's factor.

A function takes step = 0, 1, …, steps (of an epoch), epochs, and keys of its own. A schedule of
your own is such a function of a module that Python finds: `schedule: {name: my_module.linear}`.
All rise linearly over their first `warmup` steps, if that is not 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import torch
from hydra.utils import get_method
from torch.optim.lr_scheduler import LambdaLR

from experiments.methods import is_number


def constant(step: int, steps: int, epochs: int) -> float:
    """The learning rate of the optimizer throughout."""
    return 1.0


def steps(step: int, steps: int, epochs: int, *, at: list[float], gamma: float) -> float:
    """Times `gamma` at the fractions `at` of the epochs: [0.5, 0.75] of 200 are the ends of epochs
    100 and 150. Never before the end of the first."""
    if not isinstance(at, list) or not all(is_number(f) and 0 < f < 1 for f in at):
        raise ValueError(f"at must be a list of fractions of the epochs in (0, 1), got {at}")
    if not (is_number(gamma) and gamma > 0):
        raise ValueError(f"gamma must be a positive number, got {gamma}")
    epoch = step // steps
    # 0.29 · 100 is 28.999999999999996
    return gamma ** sum(epoch >= max(1, int(fraction * epochs + 1e-9)) for fraction in at)


def poly(step: int, steps: int, epochs: int, *, power: float) -> float:
    """Times (1 − step/all steps) to the power of `power`, at every step."""
    if not (is_number(power) and power > 0):
        raise ValueError(f"power must be a positive number, got {power}")
    return max(0.0, 1.0 - step / (steps * epochs)) ** power


def cosine(step: int, steps: int, epochs: int, *, floor: float = 0.0) -> float:
    """Half a cosine from 1 to `floor`, at every step. Loshchilov and Hutter, arXiv 1608.03983."""
    if not (is_number(floor) and 0 <= floor <= 1):
        raise ValueError(f"floor must be a share of the rate in [0, 1], got {floor}")
    progress = min(1.0, step / (steps * epochs))
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


SCHEDULES = {function.__name__: function for function in (constant, steps, poly, cosine)}
Factor = Callable[[int, int, int], float]


def factor_function(schedule: dict[str, Any]) -> Factor:
    """Takes a schedule's keys, returns its factor by step = 0, 1, …, steps an epoch, and epochs.

    Raises ValueError for a schedule that is not known, or keys and values that make no sense.
    """
    warmup = schedule.get("warmup", 0)
    if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
        raise ValueError(f"warmup must be a number of steps, got {warmup!r}")
    function = _function(schedule["name"])
    arguments = _arguments(schedule, function)

    def factor(step: int, steps: int, epochs: int) -> float:
        rise = (step + 1) / warmup if step < warmup else 1.0
        return rise * function(step, steps, epochs, **arguments)

    return factor


def _function(name: Any) -> Callable[..., float]:
    if name in SCHEDULES:
        return SCHEDULES[name]
    if not isinstance(name, str) or "." not in name:
        known = ", ".join(SCHEDULES)
        raise ValueError(f"name must be {known}, or a function's <module>.<name>, got {name!r}")
    try:
        return get_method(name)
    except ImportError as error:
        raise ValueError(f"there is no function {name!r}: {error}") from error


def _arguments(schedule: dict[str, Any], function: Callable[..., float]) -> dict[str, Any]:
    """The schedule's keys that the function takes; those of the suite's others may stand there,
    as an experiment's file has them when the command names another schedule."""
    own = list(signature(function).parameters.values())[3:]
    names = {parameter.name for parameter in own}
    required = {parameter.name for parameter in own if parameter.default is Parameter.empty}
    of_others = {
        name for other in SCHEDULES.values() for name in list(signature(other).parameters)[3:]
    }
    if unknown := sorted(schedule.keys() - names - of_others - {"name", "warmup"}):
        takes = ", ".join(sorted(names)) or "no keys"
        raise ValueError(f"{unknown[0]}: unknown key, {schedule['name']} takes {takes}")
    if missing := sorted(required - schedule.keys()):
        raise ValueError(f"{missing[0]} is missing, which {schedule['name']} takes")
    return {key: value for key, value in schedule.items() if key in names}


def scheduler(
    schedule: dict[str, Any], optimizer: torch.optim.Optimizer, steps: int, epochs: int
) -> LambdaLR:
    """torch's scheduler of the factor, to be stepped after every step of the optimizer."""
    factor = factor_function(schedule)
    return LambdaLR(optimizer, lambda step: factor(step, steps, epochs))
