"""SSD and PSPNet: what evaluation leaves be; drawn shapes learnt by heart, unaugmented."""

from dataclasses import replace

import pytest
import torch
from torchvision.ops import batched_nms

from experiments.schedule import scheduler
from experiments.setting import build, make_optimizer
from experiments.tasks import detection, segmentation
from helpers.commands import configure, rows
from helpers.drawn import CPU, streams

EPOCHS = 300  # at most; some 80 are enough
_NMS = 0.45  # SSD's: of two objects of a class that overlap more, only one is ever detected


def by_heart(task, config, column):
    """Train on the images that are tested on, until the column is above 0.9 or the epochs end."""
    data = build(config["data"])
    data = replace(data, train_transform=data.test_transform, test=data.train)
    train, test = data.loaders(config["batch_size"], CPU)
    torch.manual_seed(0)
    model = build(config["model"])
    optimizer = make_optimizer(config, model)
    schedule = scheduler({"name": "constant", "warmup": 30}, optimizer, len(train), EPOCHS)
    figures = [task.evaluate(model, test)[column]]
    for epoch in range(EPOCHS):
        for batch in train.epoch(*streams(10 * epoch)):
            optimizer.zero_grad()
            task.loss(model, batch)[0].backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9:
            figures.append(task.evaluate(model, test)[column])
            print(epoch + 1, figures[-1])
        if figures[-1] > 0.9:
            break
    return figures, test


def ceiling(test):
    """The mean average precision of detecting every object exactly, after SSD's suppression."""
    truth = [target for _, targets in test for target in targets]
    detected = []
    for target in truth:
        scores = torch.ones(len(target["labels"]))
        kept = batched_nms(target["boxes"], scores, target["labels"], _NMS)
        boxes = {"boxes": target["boxes"][kept], "labels": target["labels"][kept]}
        detected.append({**boxes, "scores": scores[kept]})
    return detection.mean_average_precision(detected, truth)


@pytest.mark.parametrize(("experiment", "task"), [("ssd", detection), ("pspnet", segmentation)])
def test_evaluation_and_prediction_leave_statistics_mode_and_random_state_alone(
    tmp_path, experiment, task
):
    config = configure(f"experiment={experiment}", f"data.root={tmp_path}", runs_dir=tmp_path)
    _, test = build(config["data"]).loaders(2, CPU)
    model = build(config["model"]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert task.evaluate(model, test) == task.evaluate(model, test)
    task.predict(model, test, 1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training for module in model.modules())


@pytest.mark.slow
def test_ssd_learns_its_training_images_by_heart(tmp_path):
    """With dropped learning rates, which takes longer."""
    words = ["experiment=ssd", f"data.root={tmp_path}", "lrd.enabled=true"]
    config = configure(*words, "lrd.compile=false", runs_dir=tmp_path)
    figures, test = by_heart(detection, config, "map50")
    best = ceiling(test)
    assert best > 0.9
    assert figures[0] < 0.1
    assert 0.9 < figures[-1] <= best + 1e-6


@pytest.mark.slow
def test_pspnet_learns_its_training_images_by_heart(tmp_path):
    """With dropped learning rates, which takes longer."""
    words = ["experiment=pspnet", f"data.root={tmp_path}", "lrd.enabled=true"]
    config = configure(*words, "lrd.compile=false", runs_dir=tmp_path)
    figures, _ = by_heart(segmentation, config, "mean_iou")
    assert figures[0] < 0.3
    assert figures[-1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "figure", "least", "loss"),
    [("ssd", "map50", 0.15, "val_loss"), ("pspnet", "mean_iou", 0.45, "train_loss")],
)
def test_smoke_scale_learns_visibly(make, tmp_path, experiment, figure, least, loss):
    _, folder = make(f"experiment={experiment}", f"data.root={tmp_path}")
    first, *_, last = rows(folder)
    assert float(first[figure]) < least < float(last[figure])
    assert float(last[loss]) < 0.85 * float(first[loss])
