"""The kernel on a GPU: the masks, weights and state of the reference, to the bit."""

import pytest
import torch
from torch import nn

import lrd
from helpers.optimizers import CASES
from lrd.mask import Draw, threshold
from lrd.shards import Part, local_mask
from tests.lrd.test_golden_weights import GOLDEN, digest
from tests.lrd.test_kernels import SIZES, layouts

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_masks_are_the_cpus(device, p):
    where = dict(seed=2**40 + 3, step=7, index=5)
    assert torch.equal(
        lrd.keep_mask((1003, 70), p, **where, device=device).cpu(),
        lrd.keep_mask((1003, 70), p, **where),
    )


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("case", "dtype"), [key for key in GOLDEN if key[0] in CASES])
def test_weights_have_the_bits_of_the_first_release(device, case, dtype, compile):
    cls, hyper = CASES[case]
    given = digest(cls, hyper, getattr(torch, dtype), compile, device)
    assert given == GOLDEN[case, dtype]


def trained(cls, hyper, values, dtype, compile, device, steps=8):
    """Weights and state after some steps, on the CPU."""
    params = [nn.Parameter(value.to(device, dtype)) for value in values]
    optimizer = cls(params, **hyper, seed=4, keep_prob=0.3, compile=compile)
    for number in range(steps):
        torch.manual_seed(number)
        for param in params:
            param.grad = torch.randn(param.shape).to(device, dtype)
        optimizer.step()
    state = [value for param in params for value in optimizer.state[param].values()]
    return [tensor.detach().cpu() for tensor in (*params, *state)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_gives_the_bits_of_the_eager_step(device, case, dtype):
    """Empty, odd and large parameters, as in the tests of the CPU's kernel."""
    torch.manual_seed(0)
    values = [torch.randn(size) for size in SIZES]
    sides = [trained(*CASES[case], values, dtype, compile, device) for compile in (False, True)]
    assert all(torch.equal(one, other) for one, other in zip(*sides, strict=True))


@pytest.mark.parametrize("name", layouts(torch.zeros(1, 1, 1, 1)))
def test_the_mask_goes_by_the_elements_index_not_by_its_place_in_memory(device, name):
    torch.manual_seed(0)
    values = torch.randn(40, 3, 15, 15)
    sides = [
        trained(lrd.Adam, {}, [start], torch.float32, compile, device)
        for start, compile in ((values, False), (layouts(values)[name], True))
    ]
    assert all(torch.equal(one, other) for one, other in zip(*sides, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shift", [1, 3])
def test_parameters_that_do_not_begin_at_16_bytes(device, dtype, shift):
    weights = []
    for compile in (False, True):
        memory = torch.zeros(10_001, device=device, dtype=dtype)
        param = nn.Parameter(memory[shift:])
        param.grad = torch.ones_like(param)
        lrd.SGD([param], lr=1.0, compile=compile).step()
        assert (memory[:shift] == 0).all()
        weights.append(param.detach())
    assert torch.equal(*weights)


def test_more_than_2_to_the_30_elements(device):
    count = 2**30 + 5001
    if torch.cuda.mem_get_info(device)[0] < 8 * count:
        pytest.skip("the GPU has too little memory that is free")
    param = nn.Parameter(torch.zeros(count, dtype=torch.bfloat16, device=device))
    param.grad = torch.ones_like(param)
    lrd.SGD([param], lr=1.0, compile=True).step()
    draw = Draw(threshold(0.5), seed=0, index=0, step=0)
    for start, size in ((0, 10**6), (2**30 - 5000, 10_001)):
        moved = param[start : start + size] != 0
        part = Part((count,), (start,), (size,))
        assert torch.equal(moved, local_mask(moved, part, draw))


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_wrapper_masks_as_the_eager_one(device, channels_last):
    weights = []
    for compile in (False, True):
        torch.manual_seed(0)
        param = nn.Parameter(torch.randn(30, 7, 9, 5).to(device))
        if channels_last:
            param.data = param.data.to(memory_format=torch.channels_last)
        inner = torch.optim.Adam([param], fused=True)
        optimizer = lrd.LearningRateDropout(inner, 0.3, compile=compile)
        for number in range(4):
            torch.manual_seed(number)
            param.grad = torch.randn(param.shape).to(param)
            optimizer.step()
        weights.append(param.detach().contiguous())
    assert torch.equal(*weights)


def test_one_launch_for_all_tensors(device):
    params = [nn.Parameter(torch.ones(100 + number, device=device)) for number in range(30)]
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer = lrd.Adam(params, compile=True)
    optimizer.step()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        optimizer.step()
        torch.cuda.synchronize(device)
    assert sum(event.count for event in profile.key_averages() if "_step" in event.key) == 1


@pytest.mark.parametrize("wrap", [False, True])
def test_a_captured_step_is_refused(device, wrap):
    param = nn.Parameter(torch.ones(50, device=device))
    param.grad = torch.ones_like(param)
    optimizer = lrd.SGD([param], lr=0.1)
    if wrap:
        optimizer = lrd.LearningRateDropout(torch.optim.SGD([param], lr=0.1))
    with (
        torch.cuda.device(device),
        pytest.raises(RuntimeError, match="CUDA graph would replay the mask"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        optimizer.step()
