"""Learning rate schedules as one pure function of the step.

constant  the learning rate of the optimizer throughout
steps     times `gamma` at each of the fractions `at` of the epochs: [0.5, 0.75] of 200 epochs are
          the ends of epochs 100 and 150
poly      times (1 − step/steps) to the power of `power`, at every step
All rise linearly over their first `warmup` steps, if that is not 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

NAMES = ("constant", "steps", "poly")


def factor(schedule: dict[str, Any], step: int, steps_per_epoch: int, epochs: int) -> float:
    """What the learning rate is multiplied with at `step` = 0, 1, … of epochs × steps_per_epoch."""
    warmup = schedule.get("warmup", 0)
    rise = (step + 1) / warmup if step < warmup else 1.0
    if schedule["name"] == "steps":
        epoch = step // steps_per_epoch
        drops = sum(epoch >= int(fraction * epochs) for fraction in schedule["at"])
        return rise * schedule["gamma"] ** drops
    if schedule["name"] == "poly":
        return rise * max(0.0, 1.0 - step / (steps_per_epoch * epochs)) ** schedule["power"]
    return rise


def scheduler(
    schedule: dict[str, Any], optimizer: torch.optim.Optimizer, steps_per_epoch: int, epochs: int
) -> LambdaLR:
    """torch's scheduler with `factor`, to be stepped after every step of the optimizer."""
    return LambdaLR(optimizer, lambda step: factor(schedule, step, steps_per_epoch, epochs))
