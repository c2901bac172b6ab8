"""The fused step: the eager step's bits and weights, without recompilation."""

import pytest
import torch
from torch import nn

import lrd
from lrd import fused, kernel
from tests.lrd.test_optim import CASES, RULES, net, train


def pair(cls, hyper, sizes, **arguments):
    """The same parameters twice, with an eager and a fused optimizer."""
    sides = []
    for compile in (False, True):
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(size)) for size in sizes]
        sides.append((params, cls(params, **hyper, **arguments, compile=compile)))
    return sides


def step(sides, number):
    for params, optimizer in sides:
        torch.manual_seed(100 + number)
        for param in params:
            param.grad = torch.randn(param.shape)
        optimizer.step()


SIZES = [
    (0,),
    (1,),
    (15,),
    (4096,),
    (64, 64, 3),
    (1003,),
    (2, 4099),
    (4096 * 3 + 17,),
    (8,),
    (30, 7),
]


@pytest.mark.parametrize(
    "rule", ["adam", *(pytest.param(r, marks=pytest.mark.slow) for r in RULES if r != "adam")]
)
def test_agrees_with_the_eager_step_over_100_steps(rule):
    cls, hyper = CASES[rule]
    sides = pair(cls, hyper, SIZES, seed=4)
    before = [param.detach().clone() for param in sides[0][0]]
    for number in range(100):
        step(sides, number)
        moved = [
            [(p != b).detach() for p, b in zip(params, before, strict=True)] for params, _ in sides
        ]
        if number == 0:  # later a weight may return to where it was
            assert all(torch.equal(a, b) for a, b in zip(*moved, strict=True))
    for a, b in zip(sides[0][0], sides[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_numbers_that_change_cause_no_recompilation():
    sides = pair(lrd.Adam, {}, SIZES)
    step(sides, 0)
    torch._dynamo.utils.counters.clear()
    kernels = kernel.fused_kernel.cache_info().misses
    for number, (rate, p) in enumerate([(0.1, 0.5), (0.01, 0.9), (0.02, 0.1), (1.0, 1.0)]):
        for _, optimizer in sides:
            optimizer.param_groups[0].update(lr=rate, keep_prob=p, weight_decay=rate)
        step(sides, number + 1)
    others = pair(lrd.Adam, {}, [(77, 3), (5,)])
    step(others, 0)
    assert kernel.fused_kernel.cache_info().misses == kernels
    assert not torch._dynamo.utils.counters["stats"]
    for first, second in (sides, others):
        for a, b in zip(first[0], second[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_that_come_and_go_keep_each_parameters_own_count():
    sides = pair(lrd.Adam, {}, [(300,), (400,), (500,)])
    for number in range(6):
        for params, optimizer in sides:
            torch.manual_seed(number)
            for place, param in enumerate(params):
                gradient = torch.randn(param.shape)
                param.grad = gradient if (number + place) % 3 else None
            optimizer.step()
    for a, b in zip(sides[0][0], sides[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    steps = [[int(o.state[p]["step"]) for p in params] for params, o in sides]
    assert steps[0] == steps[1] == [4, 4, 4]


def test_state_that_is_changed_by_hand_is_used():
    sides = pair(lrd.Adam, {}, [(300,)])
    step(sides, 0)
    for params, optimizer in sides:
        optimizer.state[params[0]]["step"].fill_(40)
        optimizer.state[params[0]]["exp_avg"] = torch.ones(300)
    step(sides, 1)
    torch.testing.assert_close(sides[0][0][0], sides[1][0][0], rtol=1e-4, atol=1e-6)


def test_state_and_gradients_of_another_dtype_do_not_reach_the_kernel_unchecked():
    sides = pair(lrd.Adam, {}, [(300,)])
    for params, optimizer in sides:
        params[0].grad_dtype = None  # lets a gradient have a dtype of its own
        params[0].grad = torch.ones(300, dtype=torch.bfloat16)
        optimizer.step()
    torch.testing.assert_close(sides[0][0][0], sides[1][0][0], rtol=1e-4, atol=1e-6)
    params, optimizer = sides[1]
    optimizer.state[params[0]]["exp_avg"] = torch.ones(300, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"does not fit its parameter .* exp_avg torch.float64"):
        optimizer.step()


def test_a_learning_rate_tensor_and_its_changes_are_seen():
    rates = [torch.tensor(0.1), torch.tensor(0.1)]
    sides = pair(lrd.Adam, {}, [(300,)])
    for (_, optimizer), rate in zip(sides, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
    step(sides, 0)
    for rate in rates:
        rate.fill_(0.5)
    step(sides, 1)
    torch.testing.assert_close(sides[0][0][0], sides[1][0][0], rtol=1e-4, atol=1e-6)


def test_parameters_in_another_memory_layout_get_the_same_mask():
    """The mask goes by the element's index, not by its place in memory."""
    values = torch.randn(4, 3, 5, 5)
    params = [
        nn.Parameter(values.clone()),
        nn.Parameter(values.clone().to(memory_format=torch.channels_last)),
    ]
    for param in params:
        param.grad = torch.ones_like(param)
        lrd.Adam([param], compile=True).step()
    assert not params[1].is_contiguous()
    torch.testing.assert_close(params[0].detach(), params[1].detach().contiguous())


def test_works_inside_a_compiled_training_step():
    def trained(wrap):
        model = net()
        optimizer = lrd.Adam(model.parameters(), compile=True)

        def training_step(images):
            optimizer.zero_grad()
            (model(images) ** 2).mean().backward()
            optimizer.step()

        training_step = wrap(training_step)
        for number in range(5):
            training_step(torch.full((4, 20), float(number)))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    torch.testing.assert_close(trained(torch.compile), trained(lambda f: f), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("compile", ["auto", True])
def test_without_a_compiler_auto_goes_on_eagerly_and_says_so_once(monkeypatch, compile):
    def fail(*_):
        raise kernel.CompilationError("torch.compile failed: no g++")

    monkeypatch.setattr(fused, "fused_kernel", fail)
    monkeypatch.setattr("lrd.optimizer.worth_compiling", lambda *_: True)
    model = net()
    optimizer = lrd.Adam(model.parameters(), compile=compile)
    if compile is True:
        with pytest.raises(kernel.CompilationError, match="no g"):
            train(model, optimizer, 1)
        return
    with pytest.warns(UserWarning, match="Going on with the eager step") as caught:
        result = train(model, optimizer, 3)
    assert len(caught) == 1
    twin = net()
    assert torch.equal(result, train(twin, lrd.Adam(twin.parameters(), compile=False), 3))


def test_every_element_of_a_parameter_is_in_exactly_one_matrix():
    for numel in (0, 1, 15, 4096, 4097, 784_000, 1_000_003, 2 * fused.BLOCK + 5):
        covered = 0
        for first, (lines, length) in fused._matrices(numel, 4096):
            assert first == covered
            assert length <= 4096
            assert first // fused.BLOCK == (first + lines * length - 1) // fused.BLOCK
            covered += lines * length
        assert covered == numel


def test_auto_goes_by_model_size_and_run_length():
    assert not lrd.worth_compiling(1_796_010, 640)
    assert lrd.worth_compiling(1_796_010, 46_900)


def test_gradients_in_another_layout_than_their_parameters_are_read_by_their_elements():
    """A kernel takes the layout for granted; here the matrix has the gradient's own shape."""
    sides = pair(lrd.Adam, {}, [(2, 4096)])
    gradient = torch.randn(4096, 2).t()
    for params, optimizer in sides:
        params[0].grad = gradient
        optimizer.step()
    torch.testing.assert_close(sides[0][0][0], sides[1][0][0], rtol=1e-4, atol=1e-6)


def test_a_plan_is_made_anew_for_another_seed_and_for_moved_state():
    weights = []
    for compile in (False, True):
        W = torch.nn.Parameter(torch.zeros(64))
        optimizer = lrd.Adam([W], compile=compile)
        for step in range(4):
            W.grad = torch.ones(64)
            if step == 2:
                optimizer.param_groups[0]["seed"] = 2**40
                optimizer.state[W]["exp_avg"].data = torch.full((64,), 5.0)
            optimizer.step()
        weights.append(W.detach())
    torch.testing.assert_close(*weights)


def test_a_plan_serves_as_long_as_the_same_tensors_come_in_in_any_layout():
    sides = []
    for compile in (False, True):
        torch.manual_seed(0)
        params = [
            nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)),
            nn.Parameter(torch.randn(300)),
            nn.Parameter(torch.randn(7)),
        ]
        groups = [{"params": params[:2]}, {"params": params[2:]}]
        sides.append((params, lrd.Adam(groups, compile=compile)))
    plans = []
    for number in range(5):
        if number == 3:  # the same parameters in the same order, one of them in another group
            for _, optimizer in sides:
                first, second = optimizer.param_groups
                second["params"].insert(0, first["params"].pop())
                second["lr"] = 0.5
        step(sides, number)
        plans.append(sides[1][1]._plan)
    assert plans[0] is plans[1] is plans[2]
    assert plans[3] is not plans[2]
    assert plans[3] is plans[4]
    for a, b in zip(sides[0][0], sides[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("compile", [False, True])
def test_a_sparse_gradient_is_refused_before_anything_moves(compile):
    params = [nn.Parameter(torch.ones(300)), nn.Parameter(torch.ones(300))]
    optimizer = lrd.Adam(params, compile=compile)
    for param in params:
        param.grad = torch.ones(300)
    optimizer.step()
    before = [param.detach().clone() for param in params]
    params[1].grad = torch.ones(300).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))
    assert all(int(optimizer.state[param]["step"]) == 1 for param in params)
