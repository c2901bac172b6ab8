"""The networks: sizes as published, shapes, and initialisation."""

import math

import torch

from models.fcnet import fcnet


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
