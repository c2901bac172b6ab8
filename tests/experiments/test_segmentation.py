"""PSPNet and its task: stride, losses, metrics worked out by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.classification import MulticlassJaccardIndex

from experiments.setting import build, make_optimizer
from experiments.tasks import segmentation as task
from helpers.commands import configure
from helpers.drawn import CPU, devkit, segmentation, streams
from models.pspnet import pspnet
from models.weights import WeightsError


def small_net(num_classes=21):
    torch.manual_seed(0)
    return pspnet(
        num_classes,
        "tu-resnet10t",
        None,
        psp_channels=16,
        encoder_options={"channels": [8, 16, 32, 64], "stem_width": 4},
    )


class Fixed(torch.nn.Module):
    """Gives the same logits, and auxiliary ones in training, whatever the images."""

    def __init__(self, logits, auxiliary=None):
        super().__init__()
        self.logits, self.auxiliary = logits, auxiliary

    def forward(self, images):
        return (self.logits, self.auxiliary) if self.training else self.logits


def certain(classes, num_classes=4):
    """Logits (1, C, H, W) that predict the given classes (H, W)."""
    return 9.0 * one_hot(torch.tensor(classes), num_classes).permute(2, 0, 1)[None]


def test_the_papers_encoder_is_resnet_50_dilated_to_a_stride_of_8():
    model = pspnet(encoder_weights=None)
    features = model.net.encoder(torch.zeros(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in features[-2:]] == [(1024, 8, 8), (2048, 8, 8)]
    assert sum(p.numel() for p in model.net.encoder.parameters()) == 23_508_032  # ResNet-50's
    assert [block.pool_size for block in model.net.decoder.psp.blocks] == [1, 2, 3, 6]
    assert model.auxiliary[0].in_channels == 1024


def test_a_narrow_encoder_has_the_same_stride():
    features = small_net().net.encoder(torch.zeros(2, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in features[-2:]] == [(32, 8, 8), (64, 8, 8)]


def test_logits_have_the_images_size_and_the_auxiliary_ones_come_in_training_only():
    model, images = small_net(), torch.rand(2, 3, 64, 80)
    logits, auxiliary = model(images)
    assert logits.shape == auxiliary.shape == (2, 21, 64, 80)
    assert model.eval()(images).shape == (2, 21, 64, 80)


def test_a_last_batch_of_one_image_can_be_trained_on():
    logits, _ = small_net()(torch.rand(1, 3, 64, 64))
    assert logits.isfinite().all()


def test_images_that_do_not_fit_the_stride_are_refused():
    with pytest.raises(RuntimeError, match="divisible by 8"):
        small_net()(torch.rand(1, 3, 65, 64))


def test_weights_come_from_a_file(tmp_path):
    encoder = small_net().net.encoder
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    torch.manual_seed(5)
    options = {"channels": [8, 16, 32, 64], "stem_width": 4}
    for weights in ("imagenet", None):  # the file goes before the hub
        model = pspnet(21, "tu-resnet10t", weights, str(tmp_path / "encoder.pth"), 16, options)
        pairs = zip(model.net.encoder.parameters(), encoder.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"x", "not a state_dict"), ({}, "not a state_dict")],
)
def test_a_weights_file_that_does_not_fit_is_named(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message) as error:
        pspnet(weights_file=str(path))
    assert str(path) in str(error.value)


def test_missing_pretrained_weights_name_both_alternatives(monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", fail)
    with pytest.raises(WeightsError) as error:
        pspnet()
    for part in ("resnet50", "no network", "model.weights_file", "model.encoder_weights=null"):
        assert part in str(error.value)


def test_loss_is_the_mean_over_counted_pixels_and_0_4_of_the_auxiliary():
    torch.manual_seed(0)
    logits, auxiliary = torch.randn(2, 2, 4, 3, 5).requires_grad_().unbind()
    masks = torch.randint(0, 4, (2, 3, 5))
    masks[0, 0] = 255
    counted = masks != 255
    pixels = [each.permute(0, 2, 3, 1)[counted] for each in (logits, auxiliary)]
    parts = [cross_entropy(each, masks[counted]) for each in pixels]
    value, sums = task.loss(Fixed(logits, auxiliary), (torch.rand(2, 3, 3, 5), masks))
    assert torch.allclose(value, parts[0] + 0.4 * parts[1])
    assert torch.allclose(sums["train_loss"], 2 * value)


def test_ignored_pixels_have_no_gradient():
    logits = torch.randn(1, 4, 3, 5, requires_grad=True)
    masks = torch.zeros(1, 3, 5, dtype=torch.long)
    masks[0, 1] = 255
    value, _ = task.loss(Fixed(logits, logits), (torch.rand(1, 3, 3, 5), masks))
    value.backward()
    assert (logits.grad[:, :, 1] == 0).all()
    assert (logits.grad[:, :, [0, 2]] != 0).all()


def test_a_batch_without_any_counted_pixel_has_no_loss():
    logits = torch.randn(1, 4, 3, 5, requires_grad=True)
    value, _ = task.loss(
        Fixed(logits, logits), (torch.rand(1, 3, 3, 5), torch.full((1, 3, 5), 255))
    )
    assert value == 0


def test_mean_iou_and_pixel_accuracy_of_a_hand_made_case():
    """Class 0: 2 of 4 pixels right, none wrongly added; class 1: 2 right, 2 added; rest absent."""
    truth = torch.tensor([[[0, 0, 0, 0, 1, 1, 255]]])
    logits = certain([[0, 0, 1, 1, 1, 1, 3]])
    figures = task.evaluate(Fixed(logits), [(torch.rand(1, 3, 1, 7), truth)])
    assert figures == {"mean_iou": (2 / 4 + 2 / 4) / 2, "pixel_accuracy": pytest.approx(4 / 6)}


def test_a_class_that_the_masks_have_not_counts_only_as_errors_of_others():
    truth = torch.tensor([[[0, 0, 0, 1]]])
    figures = task.evaluate(Fixed(certain([[0, 0, 2, 1]])), [(torch.rand(1, 3, 1, 4), truth)])
    assert figures["mean_iou"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["pixel_accuracy"] == 0.75


def test_figures_of_a_set_without_a_counted_pixel_are_no_numbers():
    masks = torch.full((1, 1, 4), 255)
    figures = task.evaluate(Fixed(certain([[0, 0, 2, 1]])), [(torch.rand(1, 3, 1, 4), masks)])
    assert all(math.isnan(value) for value in figures.values())
    assert list(figures) == ["mean_iou", "pixel_accuracy"]


def test_mean_iou_is_of_the_whole_set_and_agrees_with_torchmetrics():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 8, 8)
    masks = torch.randint(0, 5, (3, 8, 8)).where(torch.rand(3, 8, 8) < 0.8, 4)
    masks[masks == 4] = 255
    batches = [(torch.rand(3, 3, 8, 8), masks), (torch.rand(3, 3, 8, 8), masks.flip(0))]
    reference = MulticlassJaccardIndex(4, ignore_index=255)
    for _, each in batches:
        reference.update(logits.argmax(1), each)
    found = task.evaluate(Fixed(logits), batches)["mean_iou"]
    assert found == pytest.approx(float(reference.compute()))


def test_predictions_are_of_the_first_images_and_can_be_saved(tmp_path):
    devkit(tmp_path, test_images=5)
    data = segmentation(tmp_path)
    _, test = data.loaders(2, CPU)
    torch.save(task.predict(small_net(), test, 3), tmp_path / "predictions.pt")
    found = torch.load(tmp_path / "predictions.pt", weights_only=True)
    assert found["images"].shape == (3, 3, 96, 96)
    assert found["truth"].shape == found["prediction"].shape == (3, 96, 96)
    for number in range(3):
        image, mask = data.test_transform(*data.test[number])
        assert torch.equal(found["images"][number], image.as_subclass(torch.Tensor))
        assert torch.equal(found["truth"][number], mask.as_subclass(torch.Tensor))
    assert len(task.predict(small_net(), test, 99)["images"]) == 5


def test_drawn_shapes_are_learnt(tmp_path):
    """By the runner's loop without its schedule, with dropped learning rates."""
    words = ["experiment=pspnet", f"data.root={tmp_path}", "lrd.enabled=true", "lrd.compile=false"]
    config = configure(*words, runs_dir=tmp_path)
    torch.manual_seed(0)
    model = build(config["model"])
    optimizer = make_optimizer(config, model)
    train, test = build(config["data"]).loaders(config["batch_size"], CPU)
    before, losses = task.evaluate(model, test), []
    for epoch in range(8):
        losses.append(0.0)
        for batch in train.epoch(*streams(10 * epoch)):
            optimizer.zero_grad()
            value, sums = task.loss(model, batch)
            value.backward()
            optimizer.step()
            losses[-1] += sums["train_loss"].item()
    after = task.evaluate(model, test)
    assert losses[-1] < 0.8 * losses[0]
    assert after["mean_iou"] > before["mean_iou"]
    assert after["pixel_accuracy"] > 0.7


def test_paper_scale_is_pspnets():
    config = configure("experiment=pspnet", "scale=paper", runs_dir="x")
    assert (config["epochs"], config["batch_size"]) == (50, 16)
    assert config["optimizer"] | {"lr": 0.001, "weight_decay": 1e-4} == config["optimizer"]
    assert config["schedule"] == {"name": "poly", "power": 0.9}
    assert config["model"]["encoder"] == "resnet50"
    assert config["model"]["encoder_weights"] == "imagenet"
    data = config["data"]
    assert (data["train"], data["test"], data["complete"]) == ("trainaug", "val", True)
    assert data["crop"] % 8 == 0


@pytest.mark.slow
def test_two_steps_at_the_papers_size():
    """Full images and net, but two images a batch instead of sixteen, for memory's sake."""
    config = configure("experiment=pspnet", "scale=paper", runs_dir="x")
    model = build({**config["model"], "encoder_weights": None})
    optimizer = make_optimizer(config, model)
    images = torch.rand(2, 3, 480, 480)
    masks = torch.randint(0, 21, (2, 480, 480))
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        value, _ = task.loss(model, (images, masks))
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert all(math.isfinite(each) for each in losses)
    assert losses[1] != losses[0]
