"""The tables that a step leaves to the next: used while nothing else changes, and never after."""

import copy

import pytest
import torch
from torch import nn

import lrd
from lrd.plan import Plan
from tests.lrd.test_optim import CASES

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


def _of_group(**changes):
    return lambda params, optimizer: optimizer.param_groups[0].update(changes)


def _of_data(change):
    def changed(params, optimizer):
        params[3].data = change(params[3].data)

    return changed


def _of_grad(change):
    def changed(params, optimizer):
        params[3].grad = change(params[3].grad)

    return changed


def _of_state(change):
    def changed(params, optimizer):
        change(optimizer.state[params[3]])

    return changed


def _loaded(params, optimizer):
    optimizer.load_state_dict(optimizer.state_dict())


def _without(place):
    def changed(params, optimizer):
        del optimizer.param_groups[0]["params"][place]

    return changed


def _with_another_in_its_place(params, optimizer):
    """Of the same memory; it has no state yet."""
    new = nn.Parameter(params[3].data)
    new.grad = params[3].grad
    optimizer.param_groups[0]["params"][3] = new


def _of_counter(place):
    def changed(params, optimizer):
        """The old memory stays, with the old number."""
        counter = optimizer.state[params[place]]["step"]
        _kept.append(counter.untyped_storage())
        counter.set_(torch.tensor(9.0))

    return changed


class _Subclass(torch.Tensor):
    pass


_kept = []


def _with_another_group(params, optimizer):
    torch.manual_seed(9)
    new = nn.Parameter(torch.randn(6))
    new.grad = torch.randn(6)
    optimizer.add_param_group({"params": [new]})


def _in_another_order(params, optimizer):
    optimizer.param_groups[0]["params"].reverse()


def _moved(params, optimizer):
    """All in new memory, while the old is written over."""
    for param in params:
        old = param.data
        param.data = old.clone()
        old.fill_(torch.nan)


CHANGES = {
    "keep_prob": _of_group(keep_prob=0.9),
    "seed": _of_group(seed=4),
    "index_offset": _of_group(index_offset=100),
    "mask": _of_group(mask="row"),
    "rescale": _of_group(rescale=True),
    "rule": _of_group(maximize=True),
    "new memory": _moved,
    "transposed in place": _of_data(torch.t),
    "other strides": _of_data(lambda data: data.t().contiguous().t()),
    "no gradient": _of_grad(lambda grad: None),
    "gradient with other strides": _of_grad(lambda grad: grad.t().contiguous().t()),
    "gradient of another class": _of_grad(lambda grad: grad.as_subclass(_Subclass)),
    "gradient with gaps": _of_grad(lambda grad: torch.stack([grad, grad], -1)[..., 0]),
    "counter": _of_state(lambda own: own["step"].add_(5)),
    "another counter": _of_state(lambda own: own.update(step=torch.tensor(9.0))),
    "counter in other memory": _of_counter(3),
    "first counter in other memory": _of_counter(0),
    "another moment": _of_state(lambda own: own.update(exp_avg=own["exp_avg"] * 2)),
    "moment in other memory": _of_state(lambda own: own["exp_avg"].set_(own["exp_avg"] * 2)),
    "no state": _of_state(dict.clear),
    "nobody's state": lambda params, optimizer: optimizer.state.clear(),
    "loaded": _loaded,
    "a parameter less": _without(1),
    "a parameter less at the end": _without(-1),
    "another parameter": _with_another_in_its_place,
    "another group": _with_another_group,
    "another order": _in_another_order,
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_else_changes_ends_the_plan(repeats, change):
    def between(number, params, optimizer):
        if number == 3:
            CHANGES[change](params, optimizer)

    said = train(repeats, between, dtypes=(torch.float32,))
    assert said[:3] == [True, True, False]


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda param: param.grad.resize_(4, 5), "size"),
        (lambda param: setattr(param, "grad", param.grad.to_sparse()), "layout torch.sparse"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_as_at_the_first_step(change, message):
    params, optimizer = make()
    for number in range(3):
        for param in params:
            param.grad = torch.randn_like(param)
        if number < 2:
            optimizer.step()
    change(params[3])
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()


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
