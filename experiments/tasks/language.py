"""The task of language modelling: cross-entropy of the next character, in nats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.tasks import Column

Batch = tuple[Tensor, Tensor]

COLUMNS = {
    "train_loss": Column("training loss (nats)", unit=" nats", falls=True),
    "mean_step": Column("mean step, times the base's"),  # which the loop measures
    "val_loss": Column("validation loss (nats)", unit=" nats", falls=True),
    "test_loss": Column("test loss (nats)", unit=" nats", falls=True),
}
RESULT = "test_loss"
CHOICE = "val_loss"  # learning rates are chosen by it


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean cross-entropy of windows: characters (N, T), and those that follow them (N, T)."""
    inputs, targets = batch
    value = cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    return value, {"train_loss": value * len(inputs)}


def weight(model: nn.Module, batch: Batch) -> int:
    """The windows over which `loss` is a mean, to weigh the parts of several processes."""
    return len(batch[1])


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[str, Tensor, Tensor]]) -> dict[str, float]:
    """Mean loss per character of the validation (`val`) and `test` text, without dropout."""
    model.eval()
    losses, counts = Counter(), Counter()
    for name, inputs, targets in batches:
        logits = model(inputs).flatten(0, 1)
        losses[name] += cross_entropy(logits, targets.flatten(), reduction="sum").double()
        counts[name] += targets.numel()
    model.train()
    return {f"{name}_loss": float(losses[name]) / counts[name] for name in ("val", "test")}
