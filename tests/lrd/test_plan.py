"""The tables that a step leaves to the next: used while nothing else changes, and never after."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import lrd
from helpers.optimizers import CASES
from lrd.plan import Plan

SHAPES = [(7, 5), (11,), (3, 2, 4, 4), (30, 30), ()]


def make(cls=lrd.Adam, dtypes=(torch.float32,), groups=1, **arguments):
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, dtype=dtype)) for dtype in dtypes for shape in SHAPES]
    parts = [{"params": params[k::groups]} for k in range(groups)]
    return params, cls(parts, **{"seed": 3, "keep_prob": 0.5, **arguments})


@pytest.fixture
def repeats(monkeypatch):
    """What each attempt to repeat a step said; `repeats.off` is for an optimizer without plans."""
    original, said = Plan.repeat, Said()

    def repeat(self, *arguments):
        said.append(not said.off and original(self, *arguments))
        return said[-1]

    monkeypatch.setattr(Plan, "repeat", repeat)
    return said


class Said(list):
    off = False


def train(repeats, between, steps=6, **arguments):
    """Train twice, with plans and without, and change something before each step.

    Returns what the plans said; both must end with the same bits.
    """
    ends = []
    for off in (True, False):
        repeats.off = off
        del repeats[:]
        params, optimizer = make(**arguments)
        for number in range(steps):
            torch.manual_seed(50 + number)
            for param in params:
                param.grad = torch.randn_like(param)
            params, optimizer = between(number, params, optimizer) or (params, optimizer)
            optimizer.step()
        state = [optimizer.state[param] for param in params]
        ends.append([*params, *(value for of in state for _, value in sorted(of.items()))])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)
    return [*repeats]


def nothing(number, params, optimizer):
    pass


@pytest.mark.parametrize("case", CASES)
def test_each_rule_repeats_its_tables_with_the_same_bits(repeats, case):
    cls, hyper = CASES[case]
    assert train(repeats, nothing, cls=cls, **hyper) == [True] * 5


@pytest.mark.parametrize("mask", ["element", "row", "tensor"])
def test_groups_dtypes_and_masks_are_told_apart(repeats, mask):
    more = {"dtypes": (torch.float32, torch.bfloat16), "groups": 2, "mask": mask}
    assert train(repeats, nothing, **more) == [True] * 5


def test_scalars_may_change_and_gradients_move(repeats):
    kept = []

    def between(number, params, optimizer):
        for group in optimizer.param_groups:
            group |= {"lr": 0.1 / (number + 1), "weight_decay": 0.01 * number, "rescale": False}
        kept.append([param.grad for param in params])  # so that new ones lie elsewhere

    more = {"dtypes": (torch.float32, torch.float64), "groups": 3}
    assert train(repeats, between, **more) == [True] * 5


def test_memory_formats_are_followed(repeats):
    def between(number, params, optimizer):
        if not number:
            params[2].data = params[2].data.contiguous(memory_format=torch.channels_last)
        params[2].grad = params[2].grad.contiguous(memory_format=torch.channels_last)

    assert train(repeats, between) == [True] * 5


def steps_of(count):
    params, optimizer = make()
    params[0].data = params[0].data.t().contiguous().t()
    for number in range(count + 1):
        for param in params:
            param.grad = torch.randn_like(param)
        if number < count:
            optimizer.step()
    return params, optimizer


def test_rows_follow_the_shape(repeats):
    def between(number, params, optimizer):
        if number >= 3:
            params[3].data = params[3].data.view(-1)
            params[3].grad = params[3].grad.view(-1)

    assert train(repeats, between, mask="row") == [True, True, False, True, True]


def test_a_gradient_of_another_type_is_converted(repeats):
    if not hasattr(torch.Tensor, "grad_dtype"):
        pytest.skip("a gradient has its parameter's type here")

    def between(number, params, optimizer):
        if number == 3:
            params[3].grad_dtype = None
            params[3].grad = torch.ones(30, 30, dtype=torch.float64)

    assert train(repeats, between)[:3] == [True, True, False]


def test_numbers_that_change_in_place_are_read_anew(repeats):
    def between(number, params, optimizer):
        (group,) = optimizer.param_groups
        if not number:
            group |= {"keep_prob": torch.tensor(0.5), "seed": np.array(3), "lr": torch.tensor(0.1)}
        if number in (2, 3):
            group["lr"].fill_(0.2)
        if number == 3:
            group["keep_prob"].fill_(0.9)
        if number == 5:
            group["seed"][...] = 4

    assert train(repeats, between) == [True, True, False, True, False]


def test_counters_that_differ_make_no_plan(repeats):
    def between(number, params, optimizer):
        if number == 1:
            optimizer.state[params[3]]["step"].add_(0.5)

    assert train(repeats, between) == [False]


def test_tensors_live_until_the_kernels_end():
    """Another thread may let go of gradients and state meanwhile."""
    params, optimizer = steps_of(2)
    tensors = [tensor for p in params for tensor in (p.grad, *optimizer.state[p].values())]
    references, alive = [weakref.ref(tensor) for tensor in tensors], []
    del tensors

    def meanwhile():
        for param in params:
            param.grad = None
            optimizer.state[param] = {}
        gc.collect()
        alive.extend(reference() is not None for reference in references)

    plan = optimizer._plan
    plan._runs = [meanwhile, *plan._runs]
    optimizer.step()
    assert optimizer._plan is plan
    assert alive == [True] * len(references)


def test_a_copy_has_no_plan_of_the_original(repeats):
    def between(number, params, optimizer):
        if number == 3:
            grads = [param.grad for param in params]
            params, optimizer = copy.deepcopy((params, optimizer))
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad.clone()
            return params, optimizer
        return None

    assert train(repeats, between) == [True, True, True, True]


def test_eager_steps_make_no_plan(repeats):
    assert train(repeats, nothing, compile=False) == []


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_autograd_knows_that_weights_have_changed(steps, compile):
    """As with torch's optimizers: old activations beside new weights would be silently wrong."""
    param = nn.Parameter(torch.ones(4))
    optimizer = lrd.SGD([param], lr=0.1, compile=compile)
    for _ in range(steps):
        loss = (param * param).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
