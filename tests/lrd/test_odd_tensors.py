"""Tensors whose memory does not say what they are: both kinds of step see what torch sees."""

import pytest
import torch
from torch import nn

import lrd
from lrd.kernels.table import Table

MAKERS = {
    "ours": lambda params, compile: lrd.SGD(params, lr=0.5, keep_prob=1.0, compile=compile),
    "cautious": lambda params, compile: lrd.MaskedUpdate(
        torch.optim.SGD(params, lr=0.5), lrd.Cautious(rescale=False), compile=compile
    ),
}
each_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
both_steps = pytest.mark.parametrize("compile", [False, True])


@each_kind
@both_steps
def test_complex_arithmetic_hands_over_gradients_that_are_negative_by_a_bit(make, compile):
    phase = nn.Parameter(torch.zeros(1))
    optimizer = make([phase], compile)
    for _ in range(30):
        optimizer.zero_grad()
        gain = torch.complex(torch.ones(1), phase)
        ((gain.conj() * (1 + 2j)).imag - 1).square().sum().backward()
        assert phase.grad.is_neg()
        optimizer.step()
    assert phase.item() == pytest.approx(1.0)


@each_kind
@both_steps
@pytest.mark.parametrize("odd", [torch._neg_view, lambda ones: torch._efficientzerotensor(100)])
def test_the_first_step_and_the_next_take_such_a_gradient_for_what_it_is(make, compile, odd):
    for before in (0, 1, 2):
        param, twin = (nn.Parameter(torch.ones(100)) for _ in range(2))
        optimizer, plain = make([param], compile), torch.optim.SGD([twin], lr=0.5)
        for step in range(4):
            gradient = torch.ones(100)
            param.grad = twin.grad = odd(gradient) if step == before else gradient
            optimizer.step(), plain.step()
        assert torch.equal(param, twin)


@each_kind
@both_steps
def test_a_parameter_may_be_negative_by_a_bit(make, compile):
    memory = torch.ones(100)
    param = nn.Parameter(torch._neg_view(memory))
    param.grad = torch.ones(100)
    make([param], compile).step()
    assert torch.equal(memory, torch.full((100,), 1.5))


@both_steps
def test_a_parameter_of_zeros_without_memory_is_refused_as_by_torch(compile):
    param = nn.Parameter(torch._efficientzerotensor(100))
    param.grad = torch.ones(100)
    with pytest.raises(RuntimeError):
        lrd.SGD([param], lr=0.5, keep_prob=1.0, compile=compile).step()


@both_steps
def test_a_state_that_becomes_negative_by_a_bit_is_read_as_it_is(compile):
    param = nn.Parameter(torch.zeros(4))
    param.grad = torch.ones(4)
    optimizer = lrd.SGD([param], lr=1.0, momentum=0.5, keep_prob=1.0, compile=compile)
    for _ in range(2):
        optimizer.step()
    momentum = optimizer.state[param]["momentum_buffer"]  # 1.5
    optimizer.state[param]["momentum_buffer"] = torch._neg_view(momentum)
    optimizer.step()
    assert torch.equal(param.detach(), torch.full((4,), -2.5 - (1.0 - 0.75)))


def test_two_parameters_in_one_memory_are_updated_one_after_the_other(monkeypatch):
    """Not by two threads at once: one is in the kernel's table, the other is left to the eager
    step."""
    memory = torch.zeros(1 << 10)
    params = [nn.Parameter(memory), nn.Parameter(memory)]
    for param in params:
        param.grad = torch.ones_like(memory)
    rows = []
    monkeypatch.setattr(Table, "add", lambda table, tensors, *_: rows.append(tensors[0]))
    monkeypatch.setattr(Table, "run", lambda *_: None)
    lrd.SGD(params, lr=1.0, keep_prob=1.0).step()
    assert len(rows) == 1
    assert (memory == -1.0).all()
    del rows[:]
    lrd.LearningRateDropout(torch.optim.SGD(params, lr=1.0)).step()
    assert len(rows) == 2 + 1  # a copy of each comes first


@both_steps
def test_moments_finer_than_the_weights_are_not_rounded_to_them(compile):
    param = nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    param.grad = torch.ones_like(param)
    optimizer = lrd.SGD([param], lr=0.5, momentum=0.9, keep_prob=1.0, compile=compile)
    optimizer.state[param]["momentum_buffer"] = torch.ones(4)
    for _ in range(2):
        optimizer.step()
    torch.testing.assert_close(optimizer.state[param]["momentum_buffer"], torch.full((4,), 2.71))
