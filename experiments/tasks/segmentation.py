"""The task of semantic segmentation: cross-entropy per pixel, mean IoU and pixel accuracy."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.tasks import Column

Batch = tuple[Tensor, Tensor]

COLUMNS = {
    "train_loss": Column("training loss", falls=True),
    "mean_iou": Column("mean IoU", 1),
    "pixel_accuracy": Column("pixel accuracy", 1),
}
RESULT = "mean_iou"

AUXILIARY_WEIGHT = 0.4
IGNORE = 255  # a mask's value where no class is counted, neither in training nor in the metrics


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean cross-entropy over the pixels of images (N, 3, H, W) with masks (N, H, W).

    Plus 0.4 times that of the auxiliary head. Also the training column, a sum over the samples.
    """
    images, masks = batch
    logits, auxiliary = model(images)
    value = _pixel_loss(logits, masks) + AUXILIARY_WEIGHT * _pixel_loss(auxiliary, masks)
    return value, {"train_loss": value * len(images)}


def _pixel_loss(logits: Tensor, masks: Tensor) -> Tensor:
    total = cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum")
    return total / (masks != IGNORE).sum().clamp(min=1)  # a batch may be all border


def weight(model: nn.Module, batch: Batch) -> Tensor:
    """The pixels over which `loss` is a mean, to weigh the parts of several processes."""
    return (batch[1] != IGNORE).sum()


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """Mean IoU and pixel accuracy, 0–1, over all pixels of the set that have a class.

    The mean is over the classes that the masks have. A class that they have not counts only as
    the errors that its predictions are: it has no IoU of its own.
    """
    model.eval()
    confusion: Tensor | int = 0  # rows: true classes, columns: predicted ones
    for images, masks in batches:
        logits = model(images)
        classes, known = logits.shape[1], masks != IGNORE
        pairs = masks[known] * classes + logits.argmax(1)[known]
        confusion = confusion + pairs.bincount(minlength=classes**2).view(classes, classes)
    model.train()
    return scores(confusion)


def scores(confusion: Tensor) -> dict[str, float]:
    """Mean IoU and pixel accuracy of a confusion matrix (truth, prediction); NaN if it is empty."""
    confusion = confusion.double()
    right, truth, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
    present = truth > 0
    iou = right[present] / (truth + predicted - right)[present]
    return {"mean_iou": float(iou.mean()), "pixel_accuracy": float(right.sum() / truth.sum())}


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Batch], count: int) -> dict[str, Tensor]:
    """Of the first `count` images: `images` (n, 3, H, W), `truth` and `prediction` (n, H, W).

    All uint8, the last two class numbers or IGNORE.
    """
    model.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    missing = count
    for images, masks in batches:
        images, masks = images[:missing], masks[:missing]
        shown = (images * 255).round().byte()
        parts.append((shown, masks.byte(), model(images).argmax(1).byte()))
        missing -= len(images)
        if missing <= 0:
            break
    model.train()
    images, truth, prediction = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    return {"images": images, "truth": truth, "prediction": prediction}
