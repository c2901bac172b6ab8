"""Several optimizers for one model, and optimizers that get some of its parameters."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.optim import ZeroRedundancyOptimizer

import lrd


def ours(params, **arguments):
    return lrd.SGD(params, lr=1.0, **arguments)


def wrapped(params, **arguments):
    return lrd.LearningRateDropout(torch.optim.SGD(params, lr=1.0), **arguments)


def parameters(count):
    params = [nn.Parameter(torch.zeros(500)) for _ in range(count)]
    for param in params:
        param.grad = torch.ones(500)
    return params


@pytest.mark.parametrize("make", [ours, wrapped])
@pytest.mark.parametrize("compile", [False, True])
def test_an_offset_gives_the_masks_of_one_optimizer(make, compile):
    together, apart = parameters(4), parameters(4)
    make(together, seed=2).step()
    optimizers = [
        make(apart[:1], seed=2, compile=compile),
        make(apart[1:3], seed=2, compile=compile, index_offset=1),
        make([{"params": apart[3:], "index_offset": 3}], seed=2, compile=compile),
    ]
    for optimizer in optimizers:
        optimizer.step()
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(apart[0], apart[1])


@pytest.mark.parametrize("make", [ours, wrapped])
def test_an_offset_travels_in_the_state_and_is_checked(make):
    state = make(parameters(1), index_offset=7).state_dict()
    (param,) = parameters(1)
    optimizer = make([param])
    optimizer.load_state_dict(state)
    optimizer.step()
    assert torch.equal(-param, lrd.keep_mask(500, 0.5, seed=0, step=0, index=7).float())
    for offset in (-1, 2**32, 0.5, "1", True):
        with pytest.raises(ValueError, match="index_offset must be an integer"):
            make(parameters(1), index_offset=offset)
        param.data.zero_()
        optimizer.param_groups[0]["index_offset"] = offset
        with pytest.raises(ValueError, match="index_offset must be an integer"):
            optimizer.step()
        assert not param.any()


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_an_optimizer_of_some_processs_parameters_is_refused_and_one_around_it_masks_as_alone():
    for make in (lrd.SGD, wrapped):
        with pytest.raises(RuntimeError, match=r"ZeroRedundancyOptimizer .*fully_shard"):
            ZeroRedundancyOptimizer(parameters(3), make, **({"lr": 1.0} if make is lrd.SGD else {}))
    alone, shared = parameters(3), parameters(3)
    ours(alone).step()
    inner = ZeroRedundancyOptimizer(shared, torch.optim.SGD, lr=1.0)
    lrd.LearningRateDropout(inner).step()
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("original", [False, True])
def test_parameters_that_fsdp1_flattens_are_refused(original):
    model = FullyShardedDataParallel(
        nn.Linear(3, 2), use_orig_params=original, device_id=torch.device("cpu")
    )
    for make in (ours, wrapped):
        with pytest.raises(RuntimeError, match=r"shard with torch\.distributed\.fsdp\.fully_shard"):
            make(model.parameters())
