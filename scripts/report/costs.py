"""What the suite would cost at the paper's scale: a model, not a measurement.

A run's time is the larger of two: its floating-point operations over the rate that a GPU sustains,
and its steps by the time that launching a step's kernels takes. Operations are counted by torch on
the paper's nets, forward; backward counts as twice that.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.setting import build
from scripts.plan import configurations

SUSTAINED = 7e12  # operations a second, of an A100's 19.5e12 in float32: 36 %
STEP = 5e-3  # seconds that a step takes at least
ASSUMED = (
    f"One GPU that sustains {SUSTAINED / 1e12:g} TFLOP/s (36 % of an A100's 19.5 in float32, no "
    f"tensor cores), and at least {STEP * 1e3:g} ms a step. Data loading is not counted."
)
# Training and test images at the paper's scale, and the shape of one
IMAGES = {
    "mnist": (60_000, 10_000, (1, 28, 28)),
    "cifar10": (50_000, 10_000, (3, 32, 32)),
    "cifar100": (50_000, 10_000, (3, 32, 32)),
    "pspnet": (10_582, 1_449, (3, 480, 480)),
    "ssd": (16_551, 4_952, (3, 300, 300)),
}


class Estimate(NamedTuple):
    """Operations of one image's forward pass, and hours of one run on the assumed GPU."""

    forward: int
    hours: float


@functools.cache
def estimate(experiment: str) -> Estimate:
    """A run of an experiment's base arm with Adam, at the paper's scale."""
    overrides = [f"experiment={experiment}", "optimizer=adam", "lrd.enabled=false", "seed=0"]
    (config,) = configurations("table1", overrides)
    train, test, shape = IMAGES[experiment]
    forward = forward_operations(config["model"], shape)
    steps = -(-train // config["batch_size"]) * config["epochs"]
    operations = forward * (3 * train + test) * config["epochs"]
    return Estimate(forward, max(operations / SUSTAINED, steps * STEP) / 3600)


def forward_operations(model: dict[str, Any], shape: tuple[int, ...]) -> int:
    """Operations (a multiplication and an addition are two) of one image's forward pass."""
    settings = dict(model)
    if "encoder_weights" in settings:
        settings |= {"encoder_weights": None, "weights_file": None}
    with torch.device("meta"):
        net = build(settings)
        images = torch.empty(2, *shape)  # one alone has no batch statistics
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if hasattr(net, "backbone"):  # a detector's losses depend on the data, its net does not
            net.head(list(net.backbone(images).values()))
        else:
            net(images)
    return counter.get_total_flops() // 2
