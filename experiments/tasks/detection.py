"""The task of object detection: SSD's loss in training and validation, and mAP as VOC2007's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision

from experiments.tasks import Column

Targets = list[dict[str, Tensor]]
Batch = tuple[Tensor, Targets]

COLUMNS = {
    "train_loss": Column("training loss", falls=True),
    "val_loss": Column("validation loss", falls=True),
    "map50": Column("mAP, IoU 0.5", 1),
}
RESULT = "map50"

SHOWN = 0.3  # the least score of the detections that a picture shows


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Localisation plus classification loss of a batch, per matched default box.

    Also the training column, a sum over the batch's samples.
    """
    images, targets = batch
    losses, _ = model(images, targets=targets)
    value = sum(losses.values())
    return value, {"train_loss": value * len(images)}


def weight(model: nn.Module, batch: Batch) -> Tensor:
    """The boxes over which the last `loss` was a mean, to weigh the parts of several processes."""
    return model.matched


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """The training loss on the validation set, and mAP at IoU 0.5, 0–1.

    The loss is computed as in training, hard negatives included, but without augmentation and, in
    a net that has batch norm, with its running statistics, which stay as they are.
    mAP is VOC2007's mean over eleven recalls, of the classes that the set has. Objects marked
    difficult count in the loss, as in training, and in mAP neither as found nor as missed.
    Detections are matched as COCO does: to the best object that is still free.
    """
    model.eval()
    metric = average_precision()
    total, count = 0.0, 0
    for images, targets in batches:
        losses, detections = model(images, targets=targets)
        total += sum(losses.values()).double() * len(images)
        count += len(images)
        metric.update(detections, [_truth(target) for target in targets])
    model.train()
    return {"val_loss": float(total) / count, "map50": float(metric.compute()["map_50"])}


def average_precision() -> MeanAveragePrecision:
    """VOC2007's 11-point average precision at IoU 0.5."""
    return MeanAveragePrecision(
        iou_thresholds=[0.5],
        rec_thresholds=[recall / 10 for recall in range(11)],
        max_detection_thresholds=[1, 10, 200],  # SSD gives up to 200 an image
        sync_on_compute=False,  # one process evaluates the whole set
    )


def _truth(target: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "boxes": target["boxes"],
        "labels": target["labels"],
        "iscrowd": target["difficult"].long(),
    }


def files(
    config: dict[str, Any], model: nn.Module, batches: Iterable[Batch]
) -> dict[str, dict[str, Tensor]]:
    """Predictions of the first images, as many as the configuration asks for."""
    count = config["predictions"]
    return {"predictions.pt": predict(model, batches, count)} if count else {}


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Batch], count: int) -> dict[str, Tensor]:
    """Of the first `count` images: `images` (n, 3, S, S) uint8, and boxes as rows of float32.

    `truth` has image, label, x0, y0, x1, y1; `prediction` the same and the score, from SHOWN up.
    """
    model.eval()
    images_shown, truth, prediction = [], [], []
    for images, targets in batches:
        images, targets = images[: count - len(images_shown)], targets[: count - len(images_shown)]
        _, detections = model(images)
        for image, target, found in zip(images, targets, detections, strict=True):
            number = len(images_shown)
            images_shown.append((image * 255).round().byte())
            truth.append(_rows(number, target["labels"], target["boxes"]))
            shown = found["scores"] >= SHOWN
            rows = _rows(number, found["labels"][shown], found["boxes"][shown])
            prediction.append(torch.cat([rows, found["scores"][shown, None]], dim=1))
        if len(images_shown) >= count:
            break
    model.train()
    return {
        "images": torch.stack(images_shown).cpu(),
        "truth": torch.cat(truth).cpu(),
        "prediction": torch.cat(prediction).cpu(),
    }


def _rows(number: int, labels: Tensor, boxes: Tensor) -> Tensor:
    numbers = torch.full((len(labels), 1), float(number), device=boxes.device)
    return torch.cat([numbers, labels[:, None].float(), boxes], dim=1)
