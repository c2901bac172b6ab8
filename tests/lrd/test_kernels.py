"""The kernels: the eager step's masks, weights and state to the bit."""

import pytest
import torch
from torch import nn

import lrd
from helpers.optimizers import CASES, RULES, net
from lrd.kernels import build
from lrd.kernels.table import spans
from tests.lrd.test_golden_weights import numbers

SIZES = [
    (0,),
    (1,),
    (15,),
    (4096,),
    (64, 64, 3),
    (1003,),
    (2, 4099),
    (2**16 + 17,),
    (8,),
    (30, 7),
]
pytestmark = pytest.mark.usefixtures("ieee_roots")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def pair(cls, hyper, sizes, dtype=torch.float32, **arguments):
    """The same parameters twice, with an eager optimizer and one with a kernel."""
    sides = []
    for compile in (False, True):
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(size).to(dtype)) for size in sizes]
        sides.append((params, cls(params, **hyper, **arguments, compile=compile)))
    return sides


def step(sides, number):
    for params, optimizer in sides:
        torch.manual_seed(100 + number)
        for param in params:
            param.grad = torch.randn(param.shape).to(param.dtype)
        optimizer.step()


def assert_equal(sides):
    """Weights and state, to the bit."""
    (params, one), (twins, other) = sides
    for param, twin in zip(params, twins, strict=True):
        assert torch.equal(param, twin)
        for name, value in one.state[param].items():
            assert torch.equal(value, other.state[twin][name]), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_gives_the_bits_of_the_eager_step(case, dtype):
    cls, hyper = CASES[case]
    sides = pair(cls, hyper, SIZES, dtype, seed=4, keep_prob=0.3)
    for number in range(8):
        step(sides, number)
    assert_equal(sides)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_gives_the_bits_of_the_eager_step_over_100_steps(rule, dtype):
    cls, hyper = CASES[rule]
    sides = pair(cls, hyper, SIZES, dtype, seed=4)
    for number in range(100):
        step(sides, number)
    assert_equal(sides)


def test_numbers_that_change_need_no_other_kernel():
    sides = pair(lrd.Adam, {}, SIZES)
    step(sides, 0)
    kernels = build.kernel.cache_info().misses
    for number, (rate, p) in enumerate([(0.1, 0.5), (0.01, 0.9), (0.02, 0.1), (1.0, 1.0)]):
        for _, optimizer in sides:
            optimizer.param_groups[0].update(lr=rate, keep_prob=p, weight_decay=rate)
        step(sides, number + 1)
    others = pair(lrd.Adam, {}, [(77, 3), (5,)])
    step(others, 0)
    assert build.kernel.cache_info().misses == kernels
    assert_equal(sides)
    assert_equal(others)


def test_gradients_that_come_and_go_keep_each_parameters_own_count():
    sides = pair(lrd.Adam, {}, [(300,), (400,), (500,)])
    for number in range(6):
        for params, optimizer in sides:
            torch.manual_seed(number)
            for place, param in enumerate(params):
                gradient = torch.randn(param.shape)
                param.grad = gradient if (number + place) % 3 else None
            optimizer.step()
    assert_equal(sides)
    steps = [[int(o.state[p]["step"]) for p in params] for params, o in sides]
    assert steps[0] == steps[1] == [4, 4, 4]


def test_state_that_is_changed_by_hand_is_used():
    sides = pair(lrd.Adam, {}, [(300,)])
    step(sides, 0)
    for params, optimizer in sides:
        optimizer.state[params[0]]["step"].fill_(40)
        optimizer.state[params[0]]["exp_avg"] = torch.ones(300)
    step(sides, 1)
    assert_equal(sides)


def test_state_and_gradients_of_another_dtype_are_converted():
    sides = pair(lrd.Adam, {}, [(300,)])
    for params, optimizer in sides:
        params[0].grad = torch.ones(300)
        if hasattr(params[0], "grad_dtype"):  # torch before 2.9 holds gradients to the weights'
            params[0].grad_dtype = None
            params[0].grad = torch.ones(300, dtype=torch.bfloat16)
        optimizer.step()
        optimizer.state[params[0]]["exp_avg"] = torch.ones(300, dtype=torch.float64)
        optimizer.step()
    assert_equal(sides)


def test_a_learning_rate_tensor_and_its_changes_are_seen():
    rates = [torch.tensor(0.1), torch.tensor(0.1)]
    sides = pair(lrd.Adam, {}, [(300,)])
    for (_, optimizer), rate in zip(sides, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
    step(sides, 0)
    for rate in rates:
        rate.fill_(0.5)
    step(sides, 1)
    assert_equal(sides)


def layouts(values):
    """Tensors of these values whose elements lie otherwise in memory."""
    wide = torch.zeros(*values.shape[:-1], 2 * values.shape[-1])
    return {
        "channels last": values.clone().to(memory_format=torch.channels_last),
        "transposed": values.clone().permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        "with gaps": wide[..., ::2].copy_(values),
        "from the middle": torch.cat([values, values])[len(values) :],
    }


@pytest.mark.parametrize("name", layouts(torch.zeros(1, 1, 1, 1)))
def test_the_mask_goes_by_the_elements_index_not_by_its_place_in_memory(name):
    torch.manual_seed(0)
    values, gradient = torch.randn(40, 3, 15, 15), torch.randn(40, 3, 15, 15)
    weights = []
    for start, compile in ((values.clone(), False), (layouts(values)[name], True)):
        param = nn.Parameter(start)
        assert param.stride() == start.stride()
        optimizer = lrd.Adam([param], compile=compile)
        for _ in range(3):
            param.grad = gradient
            optimizer.step()
        weights.append(param.detach().contiguous())
    assert torch.equal(*weights)


def test_what_a_kernel_cannot_walk_is_known():
    assert spans((4, 5), (5, 1)) == spans((20,), (1,))
    assert spans((4, 5), (10, 1)) is None  # gaps
    assert spans((4, 5), (0, 1)) is None  # elements that share memory
    assert spans((2, 3, 2**29), (3 * 2**29, 1, 3)) is None  # more than a block, out of order
    assert len(spans((3, 2**29), (2**29, 1))) == 2


def test_bits_do_not_depend_on_threads():
    weights = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        params = [nn.Parameter(numbers(count, 0, torch.float32)) for count in (300_001, 70_000)]
        for param in params:
            param.grad = numbers(param.numel(), 1, torch.float32)
        lrd.Adam(params, compile=True).step()
        weights.append(torch.cat([param.detach() for param in params]))
    torch.set_num_threads(1)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


@pytest.mark.slow
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


def test_gradients_in_another_layout_than_their_parameters_are_read_by_their_elements():
    sides = pair(lrd.Adam, {}, [(2, 4096)])
    gradient = torch.randn(4096, 2).t()
    for params, optimizer in sides:
        params[0].grad = gradient
        optimizer.step()
    assert_equal(sides)


def test_another_seed_and_moved_state_are_seen():
    sides = pair(lrd.Adam, {}, [(64,)])
    for number in range(4):
        if number == 2:
            for (W,), optimizer in sides:
                optimizer.param_groups[0]["seed"] = 2**40
                optimizer.state[W]["exp_avg"].data = torch.full((64,), 5.0)
        step(sides, number)
    assert_equal(sides)


def test_groups_of_other_rules_and_dtypes_are_each_updated_by_their_own():
    sides = []
    for compile in (False, True):
        torch.manual_seed(0)
        groups = [
            {"params": [nn.Parameter(torch.randn(4000)), nn.Parameter(torch.randn(7).half())]},
            {"params": [nn.Parameter(torch.randn(50_000))], "momentum": 0.0, "lr": 0.5},
            {"params": [nn.Parameter(torch.randn(300))], "weight_decay": 0.1, "keep_prob": 1.0},
        ]
        optimizer = lrd.SGD(groups, lr=0.1, momentum=0.9, compile=compile)
        sides.append(([param for group in groups for param in group["params"]], optimizer))
    for number in range(3):
        step(sides, number)
    assert_equal(sides)


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


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_that_stands_twice_in_a_group_is_updated_twice_in_turn():
    weights = []
    for compile in (True, False):
        W = torch.nn.Parameter(torch.zeros(100_000))
        W.grad = torch.ones(100_000)
        optimizer = lrd.SGD([W, W], lr=1.0, compile=compile)
        for _ in range(3):
            optimizer.step()
        weights.append(W.detach().clone())
    assert torch.equal(*weights)
    assert weights[0].min() == -6
