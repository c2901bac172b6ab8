"""The networks: sizes as published, shapes, and initialisation."""

import math

import pytest
import torch
from torch import nn

from models.densenet import densenet121
from models.fcnet import fcnet
from models.resnet import resnet34


def test_fcnet_has_the_papers_size():
    model = fcnet()
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    assert shapes == [(1000, 784), (1000,), (1000, 1000), (1000,), (10, 1000), (10,)]
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_796_010


def test_fcnet_takes_images_and_gives_logits_of_either_sign():
    logits = fcnet(num_classes=7, hidden=32)(torch.randn(5, 1, 28, 28))
    assert logits.shape == (5, 7)
    assert (logits < 0).any()
    assert (logits > 0).any()


def test_fcnet_is_not_linear():
    model = fcnet(hidden=32)
    a, b = torch.randn(2, 1, 1, 28, 28)
    with torch.no_grad():
        assert not torch.allclose(model(a + b) - model(b), model(a) - model(a * 0), atol=1e-3)


def test_fcnet_keeps_torchs_initialisation():
    """Uniform in ± 1/√inputs, weights and biases; another one would be a change of protocol."""
    torch.manual_seed(0)
    model = fcnet()
    for layer, inputs in [(model[1], 784), (model[3], 1000), (model[5], 1000)]:
        bound = 1 / math.sqrt(inputs)
        for values in (layer.weight, layer.bias):
            assert values.abs().max() <= bound
            assert values.abs().max() > 0.8 * bound


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_nets_for_32_pixels_have_the_papers_sizes():
    assert size(resnet34()) == 21_282_122
    assert size(densenet121()) == 7_048_548
    assert size(resnet34(blocks=(2, 2, 2, 2))) == 11_173_962  # ResNet-18's, as often published


@pytest.mark.parametrize("net", [resnet34(7, width=4), densenet121(7, growth_rate=4)])
def test_nets_for_32_pixels_keep_the_resolution_in_their_first_stage(net):
    seen = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *call: seen.append(call[2].shape[2:]))
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert sum(shape == (32, 32) for shape in seen) >= 7
    assert seen[-1] == (4, 4)


def test_width_and_growth_narrow_the_nets():
    assert size(resnet34(width=16)) < size(resnet34()) / 15
    assert size(densenet121(growth_rate=8)) < size(densenet121()) / 12


def dropped(net):
    """Names of the dropout modules that zero a share of their input in training, with the share."""
    shares = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(
                lambda _, inputs, out, name=name: shares.update(
                    {name: ((out == 0) & (inputs[0] != 0)).sum() / (inputs[0] != 0).sum()}
                )
            )
    net(torch.randn(4, 3, 32, 32))
    return {name: share.item() for name, share in shares.items() if share}


def test_standard_dropout_is_where_the_authors_have_it():
    """After the stem, twice in each of 16 blocks, and on the 3 shortcuts with a projection."""
    torch.manual_seed(0)
    shares = dropped(resnet34(width=8, p_sd=0.8))
    assert len(shares) == 1 + 2 * 16 + 3
    assert all(0.1 < share < 0.3 for share in shares.values())
    assert sum(shares.values()) / len(shares) == pytest.approx(0.2, abs=0.01)


def test_standard_dropout_is_off_in_evaluation_and_at_1():
    assert not dropped(resnet34(width=4, p_sd=0.5).eval())
    assert not dropped(resnet34(width=4))


def test_standard_dropout_leaves_the_initial_weights_alone():
    weights = []
    for p_sd in (1.0, 0.5):
        torch.manual_seed(3)
        weights.append(nn.utils.parameters_to_vector(resnet34(width=4, p_sd=p_sd).parameters()))
    assert torch.equal(*weights)
