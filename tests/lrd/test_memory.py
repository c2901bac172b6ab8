"""Nothing keeps the memory of tensors that somebody has taken away from an optimizer."""

import gc
import weakref

import pytest
import torch

import lrd
from tests.lrd.test_in_other_hands import mask, moved, parameter


@pytest.mark.parametrize("compile", [False, True])
def test_nothing_but_parameters_and_state_keeps_its_memory(compile):
    params = [parameter(), parameter()]
    optimizer = lrd.Adam(params, compile=compile)
    optimizer.step()
    tensors = [param.grad for param in params]
    for param in params:
        param.grad = None
        for name, value in optimizer.state[param].items():
            tensors.append(value)
            optimizer.state[param][name] = value.clone()
    tensors.append(params.pop())
    optimizer.param_groups[0]["params"].pop()
    del optimizer.state[tensors[-1]]
    references = [weakref.ref(tensor) for tensor in tensors]
    del tensors, value, param
    gc.collect()
    assert [reference() is None for reference in references] == [True] * len(references)


def test_the_wrappers_copy_can_be_given_back():
    param = parameter()
    optimizer = lrd.LearningRateDropout(torch.optim.SGD([param], lr=1.0))
    optimizer.step()
    copies = [weakref.ref(copy) for copy in optimizer._copies._copies.values()]
    optimizer.free_copies()
    assert copies
    assert all(reference() is None for reference in copies)
    assert torch.equal(moved(param, optimizer), mask(step=1))
