"""The task of image classification: cross-entropy, and accuracy in percent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.tasks import Column

Batch = tuple[Tensor, Tensor]

COLUMNS = {
    "train_loss": Column("training loss (nats)", unit=" nats", falls=True),
    "train_accuracy": Column("training accuracy (%)", 100, 2, " points"),
    "test_loss": Column("test loss (nats)", unit=" nats", falls=True),
    "test_accuracy": Column("test accuracy (%)", 100, 2, " points"),
    "clean_accuracy": Column("clean training accuracy (%)", 100, 2, " points", optional=True),
}
RESULT = "test_accuracy"


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean cross-entropy of a batch of images (N, C, H, W) and labels (N,), to be differentiated.

    Also the training columns of the record as sums over the batch, left on the device.
    """
    images, labels = batch
    logits = model(images)
    value = cross_entropy(logits, labels)
    with torch.no_grad():
        correct = (logits.argmax(1) == labels).sum()
        sums = {"train_loss": value * len(labels), "train_accuracy": 100.0 * correct}
    return value, sums


def weight(model: nn.Module, batch: Batch) -> int:
    """The samples over which `loss` is a mean, to weigh the parts of several processes."""
    return len(batch[1])


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """Mean loss per sample, and accuracy in percent, in the model's evaluation mode."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += cross_entropy(logits, labels, reduction="sum").double()
        correct += (logits.argmax(1) == labels).sum()
        count += len(labels)
    model.train()
    return {"test_loss": float(loss) / count, "test_accuracy": 100.0 * int(correct) / count}


@torch.no_grad()
def files(config: dict[str, Any], model: nn.Module, batches: Iterable[Batch]) -> dict[str, bytes]:
    """Which test images the net is right about, a bit each."""
    model.eval()
    correct = [model(images).argmax(1) == labels for images, labels in batches]
    model.train()
    return {"correct.bin": np.packbits(torch.cat(correct).cpu().numpy()).tobytes()}
