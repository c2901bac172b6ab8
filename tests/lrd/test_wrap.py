"""LearningRateDropout around other optimizers."""

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import lrd
from helpers.optimizers import CASES, net, torch_twin, train, weights
from tests.lrd.test_in_other_hands import mask, parameter


@pytest.mark.parametrize("case", CASES)
def test_wrapping_torchs_optimizer_equals_our_own(case):
    cls, hyper = CASES[case]
    ours, wrapped = net(torch.float64), net(torch.float64)
    a = train(ours, cls(ours.parameters(), **hyper, seed=2), 30, dtype=torch.float64)
    optimizer = lrd.LearningRateDropout(torch_twin(cls)(wrapped.parameters(), **hyper), seed=2)
    b = train(wrapped, optimizer, 30, dtype=torch.float64)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_closure_that_makes_the_gradients_is_masked():
    model = net()
    optimizer = lrd.LearningRateDropout(torch.optim.SGD(model.parameters(), lr=0.1))
    before = weights(model)

    def closure():
        optimizer.zero_grad()
        loss = (model(torch.ones(4, 20)) ** 2).mean()
        loss.backward()
        return loss

    assert optimizer.step(closure) > 0
    first = next(model.parameters()).numel()
    mask = lrd.keep_mask(first, 0.5, seed=0, step=0, index=0)
    assert torch.equal(weights(model)[:first] != before[:first], mask)


@pytest.mark.parametrize("made_by", ["closure", "hook", "caller"])
def test_gradients_that_a_hook_takes_away_after_the_step_are_masked(made_by):
    param = nn.Parameter(torch.zeros(1000))
    inner = torch.optim.SGD([param], lr=1.0)

    def make(*_):
        param.grad = torch.ones(1000)

    if made_by == "hook":
        inner.register_step_pre_hook(make)
    elif made_by == "caller":
        make()
    inner.register_step_post_hook(lambda *_: inner.zero_grad())
    lrd.LearningRateDropout(inner).step(make if made_by == "closure" else None)
    assert torch.equal(param != 0, lrd.keep_mask(1000, 0.5, seed=0, step=0, index=0))


def test_a_gradient_that_a_closure_takes_away_is_none():
    param = nn.Parameter(torch.zeros(1000))
    param.grad = torch.ones(1000)
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([param], lr=1.0))
    optimizer.step(optimizer.zero_grad)
    assert not param.any()
    assert optimizer.param_groups[0]["mask_steps"] == [0]


def test_a_scheduler_drives_the_inner_optimizer():
    model = net()
    inner = torch.optim.SGD(model.parameters(), lr=1.0)
    optimizer = lrd.LearningRateDropout(inner)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    train(model, optimizer, 1)
    schedule.step()
    assert inner.param_groups[0]["lr"] == pytest.approx(0.1)


def test_an_added_group_is_masked_with_its_own_probability():
    a, b = (nn.Parameter(torch.zeros(10_000)) for _ in range(2))
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([a], lr=1.0))
    optimizer.add_param_group({"params": [b], "keep_prob": 0.1})
    a.grad = b.grad = torch.ones(10_000)
    optimizer.step()
    assert torch.equal(b != 0, lrd.keep_mask(10_000, 0.1, seed=0, step=0, index=1))


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"must be a torch.optim.Optimizer, got Linear"):
        lrd.LearningRateDropout(nn.Linear(2, 2))


def test_one_copy_of_the_parameters_is_kept_and_only_of_those_that_train():
    a, b = (nn.Parameter(torch.zeros(1000)) for _ in range(2))
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([a, b], lr=1.0))
    a.grad = b.grad = torch.ones(1000)
    optimizer.step()
    first = optimizer._copies._copies[a].data_ptr()
    b.grad = None
    optimizer.step()
    assert list(optimizer._copies._copies) == [a]
    assert optimizer._copies._copies[a].data_ptr() == first
    moved = sum(lrd.keep_mask(1000, 0.5, seed=0, step=step, index=0).float() for step in (0, 1))
    assert torch.equal(-a.detach(), moved)


def test_parameters_that_change_their_dtype_are_still_masked():
    param = nn.Parameter(torch.zeros(1000))
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([param], lr=1.0))
    for dtype in (torch.float32, torch.float64):
        param.grad = None
        param.data = torch.full((1000,), 1 / 3, dtype=dtype)
        param.grad = torch.ones(1000, dtype=dtype)
        before = param.detach().clone()
        optimizer.step()
        step = int(dtype == torch.float64)
        mask = lrd.keep_mask(1000, 0.5, seed=0, step=step, index=0)
        assert torch.equal(param.detach() != before, mask)
        assert torch.equal(param.detach()[~mask], before[~mask])


def test_what_masks_already_is_not_wrapped_again():
    W = torch.nn.Parameter(torch.zeros(4))
    plain = torch.optim.SGD([W], lr=0.1)
    wrapped = lrd.LearningRateDropout(plain)
    for optimizer in (lrd.SGD([W], lr=0.1), wrapped, plain):
        with pytest.raises(ValueError, match="already has learning rate dropout"):
            lrd.LearningRateDropout(optimizer, keep_prob=0.1)


class Own(torch.optim.RMSprop):
    """An optimizer of which it is not known where its weight decay belongs."""

    __module__ = "own"


def test_a_refused_optimizer_is_left_as_it_was_and_may_be_wrapped_once_mended():
    params = [nn.Parameter(torch.ones(4)) for _ in range(2)]
    inner = Own([{"params": params[:1]}, {"params": params[1:], "weight_decay": 0.1}])
    before = [{**group} for group in inner.param_groups]
    with pytest.raises(ValueError, match="decoupled_weight_decay"):
        lrd.MaskedUpdate(inner, lrd.Cautious())
    assert inner.param_groups == before
    inner.param_groups[1]["decoupled_weight_decay"] = True
    assert lrd.MaskedUpdate(inner, lrd.Cautious()).param_groups[1]["mask_seed"] == 0


@pytest.mark.parametrize(
    ("added", "error"),
    [
        ({"params": [nn.Parameter(torch.zeros(2, dtype=torch.complex64))]}, TypeError),
        ({"params": [nn.Parameter(torch.zeros(2))], "mask_seed": -1}, ValueError),
        ({"params": [nn.Parameter(torch.zeros(2))], "rescale": "yes"}, ValueError),
        ({"params": [nn.Parameter(torch.zeros(2))], "mask_steps": [1, 2]}, ValueError),
    ],
)
def test_a_refused_group_is_not_kept(added, error):
    param = nn.Parameter(torch.zeros(4))
    optimizer = lrd.MaskedUpdate(torch.optim.SGD([param], lr=1.0), lrd.Cautious())
    with pytest.raises(error):
        optimizer.add_param_group(added)
    assert [group["params"] for group in optimizer.param_groups] == [[param]]
    param.grad = torch.ones(4)
    optimizer.step()
    assert optimizer.param_groups[0]["mask_steps"] == [1]


def test_asking_for_another_rules_argument_says_whose_it_is_not():
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([nn.Parameter(torch.zeros(4))], lr=1.0))
    with pytest.raises(AttributeError, match="keeps tau for each param group"):
        _ = optimizer.tau


@pytest.mark.parametrize("lr", [0.0, 1.0])
@pytest.mark.parametrize("of", ["the inner optimizer", "all optimizers"])
def test_gradients_that_a_hook_makes_are_masked_and_count(of, lr):
    param = nn.Parameter(torch.zeros(400))
    inner = torch.optim.SGD([param], lr=lr)

    def make_gradient(optimizer, *_):
        if optimizer is inner:
            param.grad = torch.ones(400)

    everywhere = of == "all optimizers"
    register = register_optimizer_step_pre_hook if everywhere else inner.register_step_pre_hook
    handle = register(make_gradient)
    try:
        optimizer = lrd.LearningRateDropout(inner)
        optimizer.step()
    finally:
        handle.remove()
    assert torch.equal(param != 0, mask() & (lr > 0))
    assert optimizer.param_groups[0]["mask_steps"] == [1]


class Bare(torch.optim.SGD):
    """Calls the closure as it is, as optimizers did before gradients could be turned off."""

    def step(self, closure):
        loss = closure()
        for param in self.param_groups[0]["params"]:
            param.data.sub_(param.grad)
        return loss


def test_a_closure_may_go_backward_whatever_the_inner_optimizer_does():
    param = nn.Parameter(torch.zeros(400))

    def closure():
        loss = param.sum()
        loss.backward()
        return loss

    assert lrd.LearningRateDropout(Bare([param], lr=1.0)).step(closure) == 0
    assert torch.equal(param != 0, mask())


def test_an_optimizer_that_works_out_its_own_rate_is_masked():
    class Relative(torch.optim.SGD):
        def step(self, closure=None):
            self.param_groups[0]["lr"] = 1.0
            super().step(closure)
            self.param_groups[0]["lr"] = None

    param = parameter()
    inner = Relative([param], lr=1.0)
    inner.param_groups[0]["lr"] = None
    optimizer = lrd.LearningRateDropout(inner)
    for step in range(2):
        before = param.detach().clone()
        optimizer.step()
        assert torch.equal(param.detach() != before, mask(step=step))
