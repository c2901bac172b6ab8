"""The task of object detection: SSD's loss in training and validation, and mAP as VOC2007's."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from experiments.tasks import Column

Boxes = dict[str, Tensor]
Targets = list[Boxes]
Batch = tuple[Tensor, Targets]

COLUMNS = {
    "train_loss": Column("training loss", falls=True),
    "val_loss": Column("validation loss", falls=True),
    "map50": Column("mAP, IoU 0.5", 1),
}
RESULT = "map50"

RIGHT, WRONG, IGNORED = 1, 0, -1  # what a detection is
_LEAST_IOU = 0.5
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
    mAP is VOC2007's mean over eleven recalls, of the classes that the set has, and NaN if no class
    has an object that counts. Objects marked difficult count in the loss, as in training, and in
    mAP neither as found nor as missed.
    """
    model.eval()
    truth, detected = [], []
    total, count = 0.0, 0
    for images, targets in batches:
        losses, detections = model(images, targets=targets)
        total += sum(losses.values()).double() * len(images)
        count += len(images)
        truth += [_to_cpu(target) for target in targets]
        detected += [_to_cpu(boxes) for boxes in detections]
    model.train()
    return {"val_loss": float(total) / count, "map50": mean_average_precision(detected, truth)}


def _to_cpu(boxes: Boxes) -> Boxes:
    return {key: value.cpu() for key, value in boxes.items()}


def mean_average_precision(detections: Targets, truth: Targets) -> float:
    """VOC2007's 11-point average precision at IoU 0.5, its mean over the classes with objects.

    Takes each image's detections (boxes, labels, scores) and objects (boxes, labels, difficult).
    Returns a number in 0–1, or NaN if all objects are difficult or there are none.
    """
    verdicts = torch.cat([judge(*pair) for pair in zip(detections, truth, strict=True)])
    labels, scores = (
        torch.cat([boxes[key] for boxes in detections]) for key in ("labels", "scores")
    )
    countable = torch.cat([target["labels"][~target["difficult"]] for target in truth])
    order = scores.argsort(descending=True, stable=True)
    verdicts, labels = verdicts[order], labels[order]
    means = [
        average_precision(verdicts[labels == label], int((countable == label).sum()))
        for label in countable.unique()
    ]
    return sum(means) / len(means) if means else float("nan")


def judge(detections: Boxes, target: Boxes) -> Tensor:
    """RIGHT, WRONG or IGNORED for each detection of an image (D,), by VOC's devkit (VOCevaldet.m).

    A detection belongs to the object of its class that it overlaps most, taken already or not, if
    their IoU is 0.5 or more, else it is wrong. It is ignored if that object is difficult, right if
    it has the highest score of those that belong to the object, and wrong if it has not.
    """
    verdicts = torch.full((len(detections["scores"]),), WRONG)
    if not len(target["labels"]):
        return verdicts
    from torchvision.ops import box_iou  # slow to load, and tables want COLUMNS alone

    overlap = box_iou(detections["boxes"].double(), target["boxes"].double())
    overlap[detections["labels"][:, None] != target["labels"]] = 0
    best = overlap.max(dim=1).values
    objects = (overlap == best[:, None]).int().argmax(dim=1)  # of equal ones the first
    taken: set[int] = set()
    for index in detections["scores"].argsort(descending=True, stable=True).tolist():
        matched = int(objects[index])
        if not best[index] >= _LEAST_IOU:  # nor if it is NaN
            continue
        if target["difficult"][matched]:
            verdicts[index] = IGNORED
        elif matched not in taken:
            verdicts[index] = RIGHT
            taken.add(matched)
    return verdicts


def average_precision(verdicts: Tensor, objects: int) -> float:
    """Mean over the recalls 0, 0.1 … 1 of the best precision at that recall or a higher one.

    Takes a class's verdicts (D,) by falling score and the number of its objects, at least 1.
    """
    counted = verdicts[verdicts != IGNORED]
    right = (counted == RIGHT).cumsum(0)
    precision = right.double() / torch.arange(1, len(counted) + 1)
    # in whole numbers: as a fraction, a recall of 3 / 10 may lie below 0.3
    points = [precision[10 * right >= tenths * objects] for tenths in range(11)]
    return sum(float(reached.max()) for reached in points if len(reached)) / 11


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
