"""The optimizers: against scalar Python, against torch.optim, and against known mistakes."""

import math

import pytest
import torch
from torch import nn

import lrd
from helpers.optimizers import CASES, RULES, net, torch_twin, train, weights
from helpers.reference import Reference


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("p", [0.5, 1.0])
def test_follows_algorithm_1_in_scalar_python(rule, p):
    cls, hyper = CASES[rule]
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(size, dtype=torch.float64)) for size in ((5, 4), (3,))]
    optimizer = cls(params, **hyper, keep_prob=p, seed=7, compile=False)
    values = [param.flatten().tolist() for param in params]
    plain = Reference(rule, values, **optimizer.defaults)
    for _ in range(12):
        gradients = [torch.randn_like(param) for param in params]
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = gradient.clone()
        optimizer.step()
        plain.step([gradient.flatten().tolist() for gradient in gradients])
        for param, expected in zip(params, plain.W, strict=True):
            expected = torch.tensor(expected, dtype=torch.float64)
            torch.testing.assert_close(param.detach().flatten(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_at_p_1_follows_torch_to_float_rounding_over_200_steps(case):
    cls, hyper = CASES[case]
    ours, theirs = net(torch.float64), net(torch.float64)
    a = train(ours, cls(ours.parameters(), **hyper, keep_prob=1), 200, dtype=torch.float64)
    b = train(theirs, torch_twin(cls)(theirs.parameters(), **hyper), 200, dtype=torch.float64)
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_dropped_parameters_stay_and_kept_ones_move_as_without_dropout(case):
    cls, hyper = CASES[case]
    torch.manual_seed(0)
    start = torch.randn(4000)
    ours, base = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours.grad = base.grad = torch.randn(4000)
    cls([ours], **hyper, keep_prob=0.3, seed=1).step()
    torch_twin(cls)([base], **hyper).step()
    mask = lrd.keep_mask(4000, 0.3, seed=1, step=0, index=0)
    assert torch.equal(ours[~mask], start[~mask])
    torch.testing.assert_close(ours[mask], base[mask], rtol=1e-5, atol=1e-6)
    assert not torch.equal(base[~mask], start[~mask])


@pytest.mark.parametrize("case", CASES)
def test_state_is_the_base_optimizers_fed_the_same_gradients(case):
    """Momentum and second moments see every gradient, also those of dropped parameters."""
    cls, hyper = CASES[case]
    hyper = {**hyper, "weight_decay": 0}  # decay feeds the weights back into the gradient
    ours, base = nn.Parameter(torch.ones(500)), nn.Parameter(torch.ones(500))
    a, b = cls([ours], **hyper), torch_twin(cls)([base], **hyper)
    torch.manual_seed(0)
    for _ in range(20):
        ours.grad = base.grad = torch.randn(500)
        a.step()
        b.step()
    for name, value in b.state[base].items():
        if value is not None:
            torch.testing.assert_close(a.state[ours][name], value, rtol=1e-5, atol=1e-6)


def test_mean_step_under_constant_gradient_is_not_shrunk_by_masked_momentum():
    """Momentum 0.9 and p = 0.5: about 0.5 × 10 learning rates a step in the end, and 4.1 on
    average over the first 50 steps; an implementation that masks the buffer gets 0.9."""
    param = nn.Parameter(torch.zeros(20_000))
    optimizer = lrd.SGD([param], lr=1.0, momentum=0.9)
    for _ in range(50):
        param.grad = torch.ones(20_000)
        optimizer.step()
    exact = 0.5 * sum((1 - 0.9**t) / 0.1 for t in range(1, 51)) / 50
    assert -param.mean().item() / 50 == pytest.approx(exact, rel=0.01)


def test_survivors_are_not_rescaled():
    param = nn.Parameter(torch.zeros(1000))
    param.grad = torch.ones(1000)
    lrd.SGD([param], lr=0.1, keep_prob=0.25).step()
    assert sorted(param.detach().unique().tolist()) == pytest.approx([-0.1, 0.0])


def test_mask_is_fresh_at_every_step():
    param = nn.Parameter(torch.zeros(2000))
    optimizer = lrd.SGD([param], lr=1.0)
    moved = []
    for step in range(3):
        before = param.detach().clone()
        param.grad = torch.ones(2000)
        optimizer.step()
        moved.append(param.detach() != before)
        assert torch.equal(moved[-1], lrd.keep_mask(2000, 0.5, seed=0, step=step, index=0))
    assert not torch.equal(moved[0], moved[1])


def test_keep_prob_is_the_probability_of_an_update():
    param = nn.Parameter(torch.zeros(100_000))
    param.grad = torch.ones(100_000)
    lrd.SGD([param], lr=1.0, keep_prob=0.9).step()
    assert (param != 0).float().mean().item() == pytest.approx(0.9, abs=0.01)


def test_radams_unrectified_first_steps_are_masked():
    param = nn.Parameter(torch.zeros(10_000))
    optimizer = lrd.RAdam([param], lr=1.0)
    for step in range(5):  # with beta2 = 0.999 the first five are not rectified
        before = param.detach().clone()
        param.grad = torch.ones(10_000)
        optimizer.step()
        moved = (param.detach() != before).float().mean().item()
        assert moved == pytest.approx(0.5, abs=0.03), step


def test_adamws_dropped_parameters_do_not_decay():
    param = nn.Parameter(torch.ones(1000))
    param.grad = torch.zeros(1000)
    lrd.AdamW([param], lr=0.1, weight_decay=0.5).step()
    mask = lrd.keep_mask(1000, 0.5, seed=0, step=0, index=0)
    assert (param[~mask] == 1).all()
    assert (param[mask] < 1).all()


def test_parameters_of_equal_shape_get_different_masks():
    params = [nn.Parameter(torch.zeros(1000)) for _ in range(2)]
    for param in params:
        param.grad = torch.ones(1000)
    lrd.SGD(params, lr=1.0).step()
    assert not torch.equal(params[0], params[1])


def test_a_parameter_without_gradient_does_not_advance_and_keeps_its_index():
    params = [nn.Parameter(torch.zeros(1000)) for _ in range(2)]
    optimizer = lrd.SGD(params, lr=1.0)
    params[1].grad = torch.ones(1000)
    optimizer.step()
    params[0].grad = torch.ones(1000)
    optimizer.step()
    first = lrd.keep_mask(1000, 0.5, seed=0, step=0, index=0)
    assert torch.equal(params[0].detach() != 0, first)
    both = [lrd.keep_mask(1000, 0.5, seed=0, step=s, index=1).float() for s in (0, 1)]
    assert torch.equal(-params[1].detach(), both[0] + both[1])


def test_groups_have_their_own_keep_prob_and_index_runs_over_all_groups():
    a, b = (nn.Parameter(torch.zeros(10_000)) for _ in range(2))
    a.grad = b.grad = torch.ones(10_000)
    lrd.SGD([{"params": [a], "keep_prob": 0.2}, {"params": [b]}], lr=1.0, keep_prob=0.8).step()
    assert torch.equal(a != 0, lrd.keep_mask(10_000, 0.2, seed=0, step=0, index=0))
    assert torch.equal(b != 0, lrd.keep_mask(10_000, 0.8, seed=0, step=0, index=1))


def test_does_not_touch_the_global_generator():
    model = net()
    optimizer = lrd.Adam(model.parameters())
    model(torch.ones(4, 20)).sum().backward()
    before = torch.get_rng_state()
    optimizer.step()
    assert torch.equal(before, torch.get_rng_state())


def test_closure_schedulers_and_a_learning_rate_tensor():
    model, twin = net(), net()
    rate = torch.tensor(0.1)
    a = lrd.SGD(model.parameters(), lr=rate, compile=False)
    b = lrd.SGD(twin.parameters(), lr=0.1, compile=False)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5) for o in (a, b)]
    for _ in range(3):
        for module, optimizer in ((model, a), (twin, b)):

            def closure(module=module, optimizer=optimizer):
                optimizer.zero_grad()
                loss = (module(torch.ones(4, 20)) ** 2).mean()
                loss.backward()
                return loss

            assert optimizer.step(closure) > 0
        for schedule in schedules:
            schedule.step()
    torch.testing.assert_close(weights(model), weights(twin))
    assert b.param_groups[0]["lr"] == pytest.approx(0.0125)


def test_grad_scaler_skips_a_step_with_infinite_gradients():
    model = net()
    optimizer = lrd.Adam(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for factor in (1.0, math.inf, 1.0):
        optimizer.zero_grad()
        scaler.scale((model(torch.ones(4, 20)) ** 2).mean() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
    assert weights(model).isfinite().all()
    assert all(state["step"] == 2 for state in optimizer.state.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bf16_parameters_are_updated_in_float32(rule, compile):
    """One step from the same bf16 state differs from float32's by one rounding at most."""
    cls, hyper = CASES[rule]
    torch.manual_seed(0)
    start, gradient = torch.randn(3000).bfloat16(), torch.randn(3000).bfloat16()
    low, high = nn.Parameter(start.clone()), nn.Parameter(start.float())
    low.grad, high.grad = gradient, gradient.float()
    cls([low], **hyper, compile=compile).step()
    cls([high], **hyper, compile=False).step()
    assert low.dtype == torch.bfloat16
    assert torch.equal(low.detach(), high.detach().bfloat16())
