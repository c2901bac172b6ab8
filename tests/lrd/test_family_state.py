"""MaskedUpdate in use: groups, state, other people's tools, and what it refuses."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import lrd
from helpers.travel import WAYS, handed_on
from lrd.turn import is_decoupled
from tests.lrd.test_family import ADAMW, BASES, each_rule, parameters, steps, trained


@each_rule
def test_an_exempted_group_is_the_base_optimizers_and_keeps_its_indices(rule):
    params = parameters()
    twins, whole = copy.deepcopy(params), copy.deepcopy(params)
    groups = [{"params": params[:1], "masked": False}, {"params": params[1:]}]
    optimizer = lrd.MaskedUpdate(BASES["adamw"](groups), rule)
    others = [BASES["adamw"](twins), lrd.MaskedUpdate(BASES["adamw"](whole), rule)]
    for _ in steps(params, [optimizer], 4):
        for sides in zip(params, twins, whole, strict=True):
            for twin in sides[1:]:
                twin.grad = sides[0].grad
        for other in others:
            other.step()
    assert torch.equal(params[0], twins[0])
    assert torch.equal(params[1], whole[1])
    assert not torch.equal(params[1], twins[1])
    assert [group["mask_steps"] for group in optimizer.param_groups] == [[0], [4]]
    assert list(optimizer._copies._copies) == params[1:]


@pytest.mark.parametrize("through", WAYS)
@pytest.mark.parametrize("base", ["rmsprop", "adamw"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_rule
def test_continues_bit_for_bit_after_a_round_trip(rule, base, dtype, through):
    expected = trained(lambda params: lrd.MaskedUpdate(BASES[base](params), rule, 5), 9, dtype)
    params = parameters(dtype)
    optimizer = lrd.MaskedUpdate(BASES[base](params), rule, 5)
    for _ in steps(params, [optimizer], 5):
        pass
    other = lrd.Noise(0.1, 0.1) if isinstance(rule, lrd.Noise) else type(rule)()

    def make(params):  # the rest comes with the state
        return lrd.MaskedUpdate(BASES[base](params), other)

    params, optimizer = handed_on(params, optimizer, through, make)
    for _ in steps(params, [optimizer], 4, first=5):
        pass
    assert torch.equal(torch.cat([param.detach().flatten() for param in params]), expected)


def test_magmas_s_goes_with_its_parameter():
    params = parameters()
    optimizer = lrd.MaskedUpdate(BASES["sgdm"](params), lrd.Magma())
    for _ in steps(params, [optimizer], 3):
        pass
    first, second = optimizer.param_groups[0]["mask_scales"]
    kept = optimizer.state_dict()
    (group,) = optimizer.param_groups
    group["params"].insert(1, nn.Parameter(torch.zeros(2)))
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))], "tau": 1.0})
    assert [g["mask_scales"] for g in optimizer.param_groups] == [[first, 0.0, second], [0.0]]
    for _ in steps(params, [optimizer], 1, first=3):
        pass
    assert group["mask_scales"][1:] != [0.0, second]
    assert kept["param_groups"][0]["mask_scales"] == [first, second]


@each_rule
def test_the_global_generator_is_left_alone(rule):
    params = parameters()
    optimizer = lrd.MaskedUpdate(BASES["sgdm"](params), rule)
    for param in params:
        param.grad = torch.ones_like(param)
    before = torch.get_rng_state()
    optimizer.step()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("fused", [False, True])
@each_rule
def test_grad_scaler_unscales_and_skips_infinite_gradients(rule, fused):
    """A fused optimizer unscales by itself, which the wrapper must not promise for it."""
    sides = []
    for scale in (1.0, 1024.0):
        params = parameters(torch.float32)
        optimizer = lrd.MaskedUpdate(torch.optim.AdamW(params, **ADAMW, fused=fused), rule)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for factor in (1.0, math.inf, 2.0):
            optimizer.zero_grad()
            scaler.scale(sum((param**2).sum() for param in params) * factor).backward()
            scaler.step(optimizer)
            scaler.update(scale)
        sides.append(torch.cat([param.detach().flatten() for param in params]))
        assert optimizer.param_groups[0]["mask_steps"] == [2, 2]
    torch.testing.assert_close(*sides)


class OwnAdamW(torch.optim.AdamW):
    """As of another library: nothing says what its weight decay is."""

    __module__ = "elsewhere"

    def __init__(self, params, **hyper):
        super().__init__(params, **hyper)
        del self.param_groups[0]["decoupled_weight_decay"]


@pytest.mark.parametrize("rule", [lrd.Cautious(), lrd.CautiousDecay()])
def test_decay_that_nobody_calls_decoupled_or_not_is_refused(rule):
    params = parameters()
    with pytest.raises(ValueError, match=r"weight decay of OwnAdamW is decoupled .*param groups"):
        lrd.MaskedUpdate(OwnAdamW(params, **ADAMW), rule)
    lrd.MaskedUpdate(OwnAdamW(params, lr=0.1, weight_decay=0.0), rule)


def test_torchs_own_adamw_is_decoupled_where_its_groups_do_not_say_so():
    """As torch's before 2.7; Adam's weight decay is part of the gradient."""
    for cls, decoupled in ((torch.optim.AdamW, True), (torch.optim.Adam, False)):
        optimizer = cls(parameters(), **ADAMW)
        optimizer.param_groups[0].pop("decoupled_weight_decay", None)
        assert is_decoupled(optimizer, optimizer.param_groups[0]) == decoupled


BAD = [
    (lambda: lrd.Bernoulli(0), r"keep_prob must be a number in \(0, 1\], got 0"),
    (lambda: lrd.Bernoulli(mask="columns"), "mask must be 'element', 'row' or 'tensor'"),
    (lambda: lrd.Bernoulli(rescale="yes"), "rescale must be True or False, got 'yes'"),
    (lambda: lrd.Bernoulli(hold=0), "hold must be a number of steps, 1 or more, got 0"),
    (lambda: lrd.Bernoulli(hold=1.5), "hold must be"),
    (lambda: lrd.Noise("0.5", 0.5), "mean must be a number, got '0.5'"),
    (lambda: lrd.Noise(0.5, -1), "std must be a number of at least 0, got -1"),
    (lambda: lrd.Noise(0.5, math.nan), "std must be"),
    (lambda: lrd.Noise(0.5, 0.5, None), "mask must be"),
    (lambda: lrd.Cautious(1), "rescale must be"),
    (lambda: lrd.Magma(tau=0), "tau must be positive"),
    (lambda: lrd.Magma(tau=None), "tau must be"),
    (lambda: lrd.Magma(smoothing=1), r"smoothing in \[0, 1\)"),
    (lambda: lrd.Magma(keep_prob=2), "keep_prob must be"),
]


def test_numbers_of_other_types_are_a_rules_arguments():
    assert lrd.Magma(tau=np.float32(2)) == lrd.Magma(tau=2.0)
    assert type(lrd.Bernoulli(hold=np.int64(2)).hold) is int


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Tau(torch.optim.SGD):
    """Has an argument of a rule's name."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.defaults["tau"] = self.param_groups[0]["tau"] = 1.0


def test_an_argument_that_the_inner_optimizer_has_too_is_refused():
    with pytest.raises(ValueError, match="Tau has tau of its own, which Magma would share"):
        lrd.MaskedUpdate(Tau(parameters()), lrd.Magma())
    assert "mask_seed" not in lrd.MaskedUpdate(Tau(parameters()), lrd.Cautious()).defaults


@pytest.mark.parametrize("rule", [lrd.Cautious(), lrd.Magma()], ids=str)
def test_a_gradient_that_is_still_under_way_is_waited_for(rule):
    from torch.distributed._functional_collectives import AsyncCollectiveTensor

    sides = []
    for under_way in (False, True):
        (param,) = params = parameters(torch.float32)[:1]
        optimizer = lrd.MaskedUpdate(torch.optim.SGD(params, lr=0.1, momentum=0.9), rule)
        torch.manual_seed(1)
        for _ in range(3):
            grad = torch.randn_like(param)
            param.grad = AsyncCollectiveTensor(grad) if under_way else grad
            optimizer.step()
        sides.append(param.detach())
    assert torch.equal(*sides)


def test_what_is_no_rule_is_refused_and_groups_are_checked_at_every_step():
    params = parameters()
    for rule in (0.5, lrd.Magma, None):
        with pytest.raises(TypeError, match=r"rule must be one such as lrd.Bernoulli\(0.5\), got"):
            lrd.MaskedUpdate(torch.optim.SGD(params), rule)
    optimizer = lrd.MaskedUpdate(torch.optim.SGD(params), lrd.Magma())
    start = [param.detach().clone() for param in params]
    for name, value in (("masked", 0), ("tau", -1.0)):
        optimizer.param_groups[0][name] = value
        params[0].grad = torch.ones_like(params[0])
        with pytest.raises(ValueError, match=name):
            optimizer.step()
        del optimizer.param_groups[0][name]
    with pytest.raises(AttributeError, match=r"param_groups\[i\]\['tau'\]"):
        optimizer.tau = 3.0
    layer = nn.Embedding(5, 3, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    before = layer.weight.detach().clone()
    with pytest.raises(RuntimeError, match="sparse=False"):
        lrd.MaskedUpdate(torch.optim.SGD(layer.parameters(), lr=1.0), lrd.Magma()).step()
    waves = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(TypeError, match="complex parameters"):
        lrd.MaskedUpdate(torch.optim.SGD([waves]), lrd.Cautious())
    assert all(
        torch.equal(a, b) for a, b in zip((*params, layer.weight), (*start, before), strict=True)
    )


def test_what_a_rule_is_not_for_may_be_exempted():
    class Others(torch.optim.SGD):
        """It does not say what its weight decay is."""

    waves, rest = nn.Parameter(torch.zeros(2, dtype=torch.complex64)), nn.Parameter(torch.ones(2))
    groups = [{"params": [waves], "weight_decay": 0.1, "masked": False}, {"params": [rest]}]
    optimizer = lrd.MaskedUpdate(Others(groups, lr=0.1), lrd.Cautious())
    waves.grad, rest.grad = torch.ones_like(waves), torch.ones_like(rest)
    optimizer.step()
    assert torch.equal(waves, torch.full_like(waves, -0.1))
    assert (rest < 1).all()


def test_a_sparse_gradient_is_refused_before_the_step():
    table = nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    inner = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="sparse=False"):
        lrd.MaskedUpdate(inner, lrd.Magma()).step()
    assert not inner.state


def test_magmas_s_falls_to_nothing_where_a_small_tau_asks_for_it():
    W = nn.Parameter(torch.zeros(3))
    optimizer = lrd.MaskedUpdate(torch.optim.SGD([W], lr=0.1, momentum=0.9), lrd.Magma(tau=1e-4))
    for sign in (1.0, -0.5):
        W.grad = torch.full((3,), sign)
        optimizer.step()
    assert optimizer.param_groups[0]["mask_scales"] == [pytest.approx(0.9)]


class Sign(torch.optim.Optimizer):
    """Goes by the gradient's sign, and nowhere where there is none."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        for param in self.param_groups[0]["params"]:
            param.sub_(0.1 * param.grad.sign().nan_to_num())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e19])
def test_magmas_s_outlives_a_gradient_whose_norm_is_no_number(value):
    W = nn.Parameter(torch.zeros(1000))
    optimizer = lrd.MaskedUpdate(Sign([W]), lrd.Magma(keep_prob=1.0))
    for step in range(3):
        W.grad = torch.full((1000,), value if step == 1 else 1.0)
        optimizer.step()
    assert W.isfinite().all()
    assert optimizer.state[W]["mask_momentum"].isfinite().all()
    least = 0.6 if not math.isfinite(value) else 0.5  # σ(1/2) is 0.62; 1e19 stays in the momentum
    assert optimizer.param_groups[0]["mask_scales"][0] >= least
    optimizer.param_groups[0]["mask_scales"] = [math.nan]  # of an older checkpoint
    optimizer.step()
    assert optimizer.param_groups[0]["mask_scales"][0] >= least


def test_a_cautious_rule_without_a_learning_rate_is_refused_where_it_needs_one():
    W = nn.Parameter(torch.ones(3))
    W.grad = torch.ones(3)
    inner = torch.optim.AdamW([W], lr=0.1)
    inner.param_groups[0]["lr"] = None
    with pytest.raises(ValueError, match="tells AdamW's update from its weight decay by the learn"):
        lrd.MaskedUpdate(inner, lrd.Cautious())
    assert torch.equal(W, torch.ones(3))
