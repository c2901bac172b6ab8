"""What the optimizers refuse, by name and with what to do."""

import pytest
import torch
from torch import nn

import lrd


def test_sparse_gradients_are_refused():
    layer = nn.Embedding(5, 3, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"layout torch.sparse_coo.*sparse=False"):
        lrd.SGD(layer.parameters(), lr=0.1).step()


def test_complex_parameters_are_refused():
    with pytest.raises(TypeError, match="complex"):
        lrd.Adam([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])


@pytest.mark.parametrize("name", ["foreach", "fused", "capturable"])
def test_torchs_own_loops_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=True chooses one of torch's own"):
        lrd.Adam([nn.Parameter(torch.zeros(2))], **{name: True})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(keep_prob=0), "keep_prob must be"),
        (dict(keep_prob=1.5), "keep_prob must be"),
        (dict(seed=-1), "seed must be"),
        (dict(compile="yes"), "compile must be"),
        (dict(lr=-1), "Invalid learning rate"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lrd.Adam([nn.Parameter(torch.zeros(2))], **arguments)


def test_a_refused_group_is_not_added():
    optimizer = lrd.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(ValueError, match="keep_prob"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "keep_prob": 2})
    with pytest.raises(
        ValueError, match=r'"masked" is a key of lrd\.MaskedUpdate.*"keep_prob": 1\.0'
    ):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "masked": False})
    optimizer.param_groups[0]["masked"] = False  # as a checkpoint may bring it, too
    with pytest.raises(ValueError, match='"masked" is a key of'):
        optimizer.step()
    with pytest.raises(TypeError, match="dict"):
        optimizer.add_param_group([nn.Parameter(torch.zeros(2))])
    assert len(optimizer.param_groups) == 1


def test_a_keep_prob_that_leaves_its_range_later_is_refused():
    for compile in (False, True):
        W = torch.nn.Parameter(torch.zeros(8))
        optimizer = lrd.SGD([W], lr=0.1, compile=compile)
        optimizer.param_groups[0]["keep_prob"] = 1.01
        W.grad = torch.ones(8)
        with pytest.raises(ValueError, match=r"keep_prob must be a number in \(0, 1\], got 1.01"):
            optimizer.step()


def test_steps_that_float32_cannot_count_are_refused():
    W = torch.nn.Parameter(torch.zeros(4))
    optimizer = lrd.Adam([W], compile=False)
    W.grad = torch.ones(4)
    optimizer.step()
    optimizer.state[W]["step"].fill_(2.0**24)
    with pytest.raises(RuntimeError, match="16777216 updates"):
        optimizer.step()
