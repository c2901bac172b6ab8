"""What ends the tables that a step leaves to the next, and what is refused as without them."""

import pytest
import torch
from torch import nn

import lrd
from tests.lrd.test_plan import repeats, steps_of, train

__all__ = ["repeats"]  # the fixture


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


def _with_the_strides_of_the_first(params, optimizer):
    params[0].grad.set_(torch.randn(60).untyped_storage(), 0, (5, 7), (1, 7))


def _counter_of_the_same_bytes(params, optimizer):
    optimizer.state[params[0]]["step"] = optimizer.state[params[0]]["step"].view(torch.int32)


def _sparse(params, optimizer):
    params[3].grad = params[3].grad.to_sparse()


REFUSED = {
    "size": lambda params, optimizer: params[3].grad.resize_(4, 5),
    "the size of tensor": _with_the_strides_of_the_first,
    "layout torch.sparse": _sparse,
    "16777216 updates": _counter_of_the_same_bytes,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_as_at_the_first_step(message):
    params, optimizer = steps_of(3)
    REFUSED[message](params, optimizer)
    with pytest.raises(RuntimeError, match=f"(?i){message}"):
        optimizer.step()


@pytest.mark.parametrize("changes", [{"seed": True}, {"keep_prob": 7}, {"rescale": 0}])
def test_settings_out_of_range_are_refused_as_at_the_first_step(changes):
    _, optimizer = steps_of(3)
    optimizer.param_groups[0] |= changes
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        optimizer.step()


def test_parameters_of_a_group_that_differ_in_their_scalars_all_get_new_ones():
    """Of equal numbers of updates: torch does not dampen the first step of a momentum."""
    ends = []
    for compile in (False, True):
        first, second = (nn.Parameter(torch.zeros(2)) for _ in range(2))
        optimizer = lrd.SGD([first, second], lr=1.0, keep_prob=1.0, compile=compile)
        for params, momentum in (([second], 0.0), ([first], 0.9), ([first, second], 0.9)):
            optimizer.zero_grad()
            for param in params:
                param.grad = torch.ones(2)
            optimizer.param_groups[0]["momentum"] = momentum
            optimizer.step()
        for rate in (0.1, 0.01):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        ends.append(torch.stack([first, second]))
    torch.testing.assert_close(*ends)
