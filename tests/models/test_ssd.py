"""SSD: default boxes, heads, losses, and what it detects."""

import math

import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD as TorchvisionSSD
from torchvision.ops import box_iou

from helpers.drawn import TARGETS, small_net
from models.ssd import ssd
from models.weights import WeightsError


def test_default_boxes_are_those_of_ssd300_for_voc():
    """From the pixels of its configuration: smallest and largest sides, strides, proportions."""
    smallest, largest = [30, 60, 111, 162, 213, 264], [60, 111, 162, 213, 264, 315]
    expected = []
    for cells, stride, low, high, ratios in zip(
        [38, 19, 10, 5, 3, 1],
        [8, 16, 32, 64, 100, 300],
        smallest,
        largest,
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        strict=True,
    ):
        sides = [(low, low), (math.sqrt(low * high),) * 2]
        for ratio in ratios:
            root = math.sqrt(ratio)
            sides += [(low * root, low / root), (low / root, low * root)]
        for row in range(cells):
            for column in range(cells):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                expected += [[x - w / 2, y - h / 2, x + w / 2, y + h / 2] for w, h in sides]
    model = ssd(encoder_weights=None)
    images = torch.zeros(1, 3, 300, 300)
    with torch.no_grad():
        features = list(model.backbone(images).values())
    assert [each.shape[-1] for each in features] == [38, 19, 10, 5, 3, 1]
    (found,) = model.anchor_generator(ImageList(images, [(300, 300)]), features)
    assert found.shape == (8732, 4)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-3)


def test_the_narrow_net_has_six_maps_and_the_same_heads():
    model = small_net(128)
    features = list(model.backbone(torch.zeros(1, 3, 128, 128)).values())
    assert [each.shape[-1] for each in features] == [16, 8, 4, 2, 1, 1]
    assert model.anchor_generator.num_anchors_per_location() == [4, 6, 6, 6, 4, 4]


def test_losses_are_torchvisions_own_in_training_and_in_validation():
    model, images = small_net(), torch.rand(3, 3, 64, 64)
    model(torch.rand(8, 3, 64, 64), 8 * TARGETS[:1])  # running statistics unlike the batch's
    for mode in (True, False):
        model.train(mode)
        losses, _ = model(images, TARGETS)
        model.training = True  # torchvision's own has losses in training alone
        expected = TorchvisionSSD.forward(model, list(images), TARGETS)
        assert set(losses) == set(expected)
        for name, value in expected.items():
            assert torch.allclose(losses[name], value, rtol=1e-5)


def test_a_last_batch_of_one_image_can_be_trained_on():
    losses, _ = small_net()(torch.rand(1, 3, 64, 64), TARGETS[:1])
    assert all(value.isfinite() for value in losses.values())


def test_three_background_boxes_are_learnt_for_each_matched_one():
    model, images = small_net(), torch.rand(3, 3, 64, 64)
    outputs = {}

    def keep(module, inputs, output):
        outputs.update(output)
        output["cls_logits"].retain_grad()

    model.head.register_forward_hook(keep)
    losses, _ = model(images, TARGETS)
    losses["classification"].backward()
    learnt = outputs["cls_logits"].grad.abs().sum(-1) > 0
    features = list(model.backbone(images).values())
    default = model.anchor_generator(ImageList(images, [(64, 64)] * 3), features)[0]
    for target, used in zip(TARGETS, learnt, strict=True):
        if len(target["boxes"]):
            matches = model.proposal_matcher(box_iou(target["boxes"], default)) >= 0
            assert matches.any()
            assert used[matches].all()
            assert used.sum() == 4 * matches.sum()
        else:
            assert not used.any()


def test_detections_come_in_evaluation_only_and_lie_in_the_image():
    model, images = small_net(), torch.rand(2, 3, 64, 64)
    assert model(images, TARGETS[:2])[1] == []
    losses, found = model.eval()(images)
    assert losses == {}
    assert len(found) == 2
    for each in found:
        assert len(each["boxes"]) == len(each["labels"]) == len(each["scores"]) <= 200
        assert each["boxes"].min() >= 0
        assert each["boxes"].max() <= 64
        assert each["labels"].min() >= 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"encoder_weights": "coco"}, "imagenet or null, got 'coco'"),
        ({"width": 8}, "no pretrained weights for model.width=8"),
        ({"size": 512, "encoder_weights": None}, "must be 300 on VGG-16, got 512"),
    ],
)
def test_what_a_net_does_not_offer_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        ssd(**keys)


def test_missing_pretrained_weights_name_both_alternatives(monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(WeightsError) as error:
        ssd()
    for part in ("VGG-16", "no network", "model.weights_file", "model.encoder_weights=null"):
        assert part in str(error.value)
