"""The task of detection: average precision by hand, training."""

import math

import pytest
import torch

from experiments.setting import build, make_optimizer
from experiments.tasks import detection as task
from helpers.commands import configure
from helpers.drawn import CPU, TARGETS, boxes, detection, devkit, small_net
from tests.experiments.test_average_precision import A, C, found


class Scripted(torch.nn.Module):
    """Gives the losses and detections that it was told, batch after batch."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = iter(outputs)

    def forward(self, images, targets=None):
        return next(self.outputs)


def test_validation_loss_is_the_mean_per_sample_and_map_the_whole_sets():
    target = {"boxes": boxes(A), "labels": torch.tensor([1]), "difficult": torch.tensor([False])}
    right, wrong = found([A], [0.9], [1]), found([C], [0.95], [1])
    outputs = [
        ({"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, [right, right]),
        ({"a": torch.tensor(0.0), "b": torch.tensor(6.0)}, [wrong]),
    ]
    batches = [(torch.rand(2, 3, 64, 64), [target] * 2), (torch.rand(1, 3, 64, 64), [target])]
    figures = task.evaluate(Scripted(outputs), batches)
    assert figures["val_loss"] == (2 * 3 + 6) / 3
    # wrong first, then two of three found: precision 2/3 up to recall 2/3, which are seven points
    assert figures["map50"] == pytest.approx(7 * (2 / 3) / 11)


@pytest.mark.parametrize(
    ("shown", "expected"), [([110, 110, 120, 120], 1 / 2), ([100, 100, 140, 139], 1)]
)
def test_evaluation_ignores_boxes_on_difficult_objects_but_none_inside_them(shown, expected):
    target = {
        "boxes": boxes(A, [100, 100, 140, 140]),
        "labels": torch.tensor([1, 1]),
        "difficult": torch.tensor([False, True]),
    }
    outputs = [({"a": torch.tensor(1.0)}, [found([shown, A], [0.9, 0.8], [1, 1])])]
    figures = task.evaluate(Scripted(outputs), [(torch.rand(1, 3, 64, 64), [target])])
    assert figures["map50"] == pytest.approx(expected)


def test_evaluation_without_an_object_that_counts_has_no_average_precision():
    target = {"boxes": boxes(A), "labels": torch.tensor([1]), "difficult": torch.tensor([True])}
    outputs = [({"a": torch.tensor(1.0)}, [found([A], [0.9], [1])])]
    figures = task.evaluate(Scripted(outputs), [(torch.rand(1, 3, 64, 64), [target])])
    assert math.isnan(figures["map50"])
    assert figures["val_loss"] == 1


def test_training_loss_is_the_sum_of_both_parts():
    model, images = small_net(), torch.rand(3, 3, 64, 64)
    value, sums = task.loss(model, (images, TARGETS))
    losses, _ = model(images, TARGETS)
    assert torch.allclose(value, losses["bbox_regression"] + losses["classification"])
    assert torch.allclose(sums["train_loss"], 3 * value)


def test_predictions_are_of_the_first_images_and_can_be_saved(tmp_path, monkeypatch):
    devkit(tmp_path, test_images=5)
    _, test = detection(tmp_path).loaders(2, CPU)
    monkeypatch.setattr(task, "SHOWN", 0.02)
    torch.save(task.predict(small_net(), test, 3), tmp_path / "predictions.pt")
    saved = torch.load(tmp_path / "predictions.pt", weights_only=True)
    targets = [target for _, each in test for target in each][:3]
    assert saved["images"].shape == (3, 3, 64, 64)
    assert saved["truth"][:, 0].tolist() == [
        number for number, target in enumerate(targets) for _ in target["labels"]
    ]
    assert torch.equal(saved["truth"][:, 2:], torch.cat([target["boxes"] for target in targets]))
    assert saved["prediction"].shape[1] == 7
    assert saved["prediction"][:, 6].min() >= 0.02
    assert set(saved["prediction"][:, 0].tolist()) <= {0, 1, 2}


def test_paper_scale_is_ssd300s():
    config = configure("experiment=ssd", "scale=paper", runs_dir="x")
    assert (config["epochs"], config["batch_size"]) == (100, 32)
    assert config["optimizer"] | {"lr": 0.001, "weight_decay": 5e-4} == config["optimizer"]
    assert config["schedule"] == {"name": "constant", "warmup": 500}
    assert (config["model"]["width"], config["model"]["encoder_weights"]) == (None, "imagenet")
    data = config["data"]
    assert (data["train"], data["test"]) == (
        ["VOC2007/trainval", "VOC2012/trainval"],
        ["VOC2007/test"],
    )
    assert data["size"] == config["model"]["size"] == 300
    assert data["complete"] is True


@pytest.mark.slow
def test_two_steps_at_the_papers_size():
    """Full images and net, but two images a batch instead of 32, for memory's sake."""
    config = configure("experiment=ssd", "scale=paper", runs_dir="x")
    model = build({**config["model"], "encoder_weights": None})
    optimizer = make_optimizer(config, model)
    batch = (
        torch.rand(2, 3, 300, 300),
        [
            {"boxes": 4 * TARGETS[number]["boxes"], "labels": TARGETS[number]["labels"]}
            for number in (0, 2)
        ],
    )
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        value, _ = task.loss(model, batch)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert all(math.isfinite(each) for each in losses)
    assert losses[1] != losses[0]
