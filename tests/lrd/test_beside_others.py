"""Rules of the family beside the code of others: the same gradients, weights after every step."""

import copy
from unittest.mock import patch

import magma
import pytest
import pytorch_optimizer
import timm.optim
import torch
from torch import nn

import lrd

SHAPES, STEPS = [(6, 5), (4, 3), (7,)], 200


def largest_difference(ours, theirs, masks=()):
    """Of float64 weights, over all steps; `masks` are what torch.bernoulli is to draw."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in SHAPES]
    twins = copy.deepcopy(params)
    optimizers = ours(params), theirs(twins)
    drawn, largest = iter(masks), 0.0
    for _ in range(STEPS):
        for param, twin in zip(params, twins, strict=True):
            param.grad = torch.randn(param.shape, dtype=torch.float64)
            twin.grad = param.grad.clone()
        optimizers[0].step()
        with patch.object(torch, "bernoulli", lambda p: torch.full_like(p, next(drawn))):
            optimizers[1].step()
        for param, twin in zip(params, twins, strict=True):
            largest = max(largest, float((param - twin).detach().abs().max()))
    return largest


BASES = {
    "adamw": lambda params: torch.optim.AdamW(params, lr=1e-2, weight_decay=0.1),
    "sgdm": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=1e-2),
}


@pytest.mark.parametrize(
    ("base", "theirs", "most"),
    [
        *((base, pytorch_optimizer.Magma, 2e-6) for base in BASES),  # their s is float32
        ("rmsprop", magma.Magma, 2e-8),
        ("adamw", magma.Magma, 2e-8),  # their own average of gradients is that of β₁ = 0.9
    ],
)
def test_magma_is_that_of_others_where_s_starts_at_1(base, theirs, most):
    def ours(params):
        optimizer = lrd.MaskedUpdate(BASES[base](params), lrd.Magma(), seed=3)
        optimizer.param_groups[0]["mask_scales"] = [1.0] * len(params)
        return optimizer

    masks = [
        float(lrd.keep_mask((1,), 0.5, seed=3, step=step, index=index))
        for step in range(STEPS)
        for index in range(len(SHAPES))
    ]
    assert 0.4 < sum(masks) / len(masks) < 0.6
    assert largest_difference(ours, lambda params: theirs(BASES[base](params)), masks) < most


def test_magmas_s_starts_at_its_first_value_and_not_at_1():
    def ours(params):
        return lrd.MaskedUpdate(BASES["sgdm"](params), lrd.Magma(keep_prob=1.0))

    def theirs(params):
        return pytorch_optimizer.Magma(BASES["sgdm"](params), mask_prob=1.0)

    masks = [1.0] * STEPS * len(SHAPES)
    assert largest_difference(ours, theirs, masks) > 0.1


class CautiousOfTimm(lrd.Cautious):
    """Rescaled by n / nnz, at most 1,000; the paper and lrd have n / (nnz + 1)."""

    def scalars(self, sums, update, state):
        return (1 / max(sums[0] / sums[1], 1e-3), update.base), state


TIMM = {
    "adamw": lambda params, **more: timm.optim.AdamWLegacy(
        params, lr=1e-2, weight_decay=0.1, **more
    ),
    "sgdm": lambda params, **more: timm.optim.SGDW(
        params, lr=0.1, momentum=0.9, weight_decay=0.01, **more
    ),
}


@pytest.mark.parametrize("base", TIMM)
def test_cautious_is_timms_but_for_its_rescaling(base):
    def around(rule):
        def make(params):
            optimizer = TIMM[base](params)
            optimizer.param_groups[0]["decoupled_weight_decay"] = True
            return lrd.MaskedUpdate(optimizer, rule)

        return make

    def theirs(params):
        return TIMM[base](params, caution=True)

    assert largest_difference(around(CautiousOfTimm()), theirs) < 1e-12
    assert largest_difference(around(lrd.Cautious()), theirs) > 1e-3


@pytest.mark.parametrize(
    ("theirs", "most"), [(pytorch_optimizer.Lion, 1e-12), (pytorch_optimizer.LaProp, 1e-8)]
)
def test_cautious_is_that_of_pytorch_optimizer(theirs, most):
    def ours(params):
        return lrd.MaskedUpdate(theirs(params, lr=1e-2), lrd.Cautious())

    assert largest_difference(ours, lambda params: theirs(params, lr=1e-2, cautious=True)) < most
