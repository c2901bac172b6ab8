"""Masks over rows and tensors, and survivors that are rescaled."""

import math

import pytest
import torch
from torch import nn

import lrd
from helpers.optimizers import CASES, net, torch_twin, train
from lrd import shards
from lrd.mask import Draw, threshold, unit_of
from lrd.rules import Row
from lrd.step import counter, update
from tests.lrd.test_kernels import SIZES, assert_equal, layouts, pair, step
from tests.lrd.test_mask import as_hex
from tests.lrd.test_shards import CASES as PLACEMENTS
from tests.lrd.test_shards import parts

UNITS = ["row", "tensor"]
# Frozen: changing any of these is a breaking change.
ROWS = [
    ((64, 3), dict(keep_prob=0.5, seed=0, step=0, index=0), "a0b2d4c77dcd8740"),
    ((64, 2, 2), dict(keep_prob=0.3, seed=5, step=7, index=11), "a922c184c0c10242"),
]
STEPS = [
    (dict(keep_prob=0.5, seed=0), "b67544234cd2ab7c"),
    (dict(keep_prob=0.3, seed=5), "24a020a2928810b6"),
]


@pytest.mark.parametrize(("shape", "arguments", "bits"), ROWS)
def test_bits_of_rows_are_frozen(shape, arguments, bits):
    mask = lrd.keep_mask(shape, **arguments, mask="row").flatten(1)
    assert as_hex(mask[:, 0]) == bits
    assert torch.equal(mask, mask[:, :1].expand_as(mask))


@pytest.mark.parametrize(("arguments", "bits"), STEPS)
def test_bits_of_tensors_are_frozen(arguments, bits):
    masks = [lrd.keep_mask((5, 7), **arguments, step=t, index=0, mask="tensor") for t in range(64)]
    assert as_hex(torch.stack([mask[0, 0] for mask in masks])) == bits
    assert all(mask.all() or not mask.any() for mask in masks)


@pytest.mark.parametrize("shape", [(), (9,), (9, 1), (0, 3), (3, 0)])
def test_an_element_of_a_vector_is_a_row(shape):
    masks = [lrd.keep_mask(shape, 0.5, seed=0, step=0, index=0, mask=m) for m in ("element", "row")]
    assert torch.equal(*masks)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_tensors_are_kept_independently_of_each_other_and_of_their_past(p):
    """Correlations of 64 parameters over 1,024 steps, at all lags, stay those of chance."""
    masks = torch.tensor(
        [
            [bool(lrd.keep_mask(1, p, seed=1, step=t, index=i, mask="tensor")) for t in range(1024)]
            for i in range(64)
        ]
    )
    x = (masks.double() - p) / math.sqrt(p * (1 - p))
    f = torch.fft.rfft(x)
    for i, row in enumerate(f):
        lags = torch.fft.irfft(f * row.conj(), n=1024)
        lags[i, 0] = 0
        assert lags.abs().max() < 6.5 * math.sqrt(1024)
    assert abs(x.mean()) < 4 / math.sqrt(x.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mask", UNITS)
@pytest.mark.parametrize(
    "case", ["sgdm", "rmsprop centered", "adamw amsgrad up", "radam decoupled"]
)
@pytest.mark.usefixtures("ieee_roots")
def test_the_kernel_gives_the_bits_of_the_eager_step(case, mask, dtype):
    cls, hyper = CASES[case]
    sides = pair(cls, hyper, SIZES, dtype, seed=4, keep_prob=0.3, mask=mask, rescale=True)
    for number in range(4):
        step(sides, number)
    assert_equal(sides)


@pytest.mark.parametrize("name", layouts(torch.zeros(1, 1, 1, 1)))
@pytest.mark.parametrize("mask", UNITS)
@pytest.mark.parametrize("compile", [False, True])
def test_a_row_is_of_the_index_not_of_memory(name, mask, compile):
    param = nn.Parameter(layouts(torch.zeros(40, 3, 15, 15))[name])
    param.grad = torch.ones(40, 3, 15, 15)
    lrd.SGD([param], lr=1.0, mask=mask, seed=2, compile=compile).step()
    expected = lrd.keep_mask(param.shape, 0.5, seed=2, step=0, index=0, mask=mask)
    assert torch.equal(param != 0, expected)


@pytest.mark.parametrize("mask", UNITS)
@pytest.mark.parametrize(("shape", "mesh", "placements"), PLACEMENTS)
@pytest.mark.parametrize("compile", [False, True])
def test_a_part_is_masked_as_in_the_whole(shape, mesh, placements, mask, compile):
    draw = Draw(threshold(0.5), 3, 2, 8, unit_of(mask, shape))
    whole = lrd.keep_mask(shape, 0.5, seed=3, step=8, index=2, mask=mask)
    plain = dict(momentum=0, nesterov=False, maximize=False)
    rule = lrd.SGD([nn.Parameter(torch.zeros(1))])._rule(plain)
    for part, expected in parts(shape, mesh, placements, whole):
        W = torch.zeros(part.size)
        update([Row(W, torch.ones(part.size), (), counter(0), rule, part, draw, [1.0, 0])], compile)
        assert torch.equal(W != 0, expected)


@pytest.mark.parametrize("mask", ["element", *UNITS])
@pytest.mark.parametrize("case", CASES)
def test_the_mean_of_rescaled_updates_is_the_base_optimizers(case, mask):
    """One step from the same weights with 400 seeds: the update, decay included, on average."""
    cls, hyper = CASES[case]
    torch.manual_seed(0)
    start, gradient, p, seeds = torch.randn(6, 40).double(), torch.randn(6, 40).double(), 0.3, 400
    updates = []
    for seed in (None, *range(seeds)):
        W = nn.Parameter(start.clone())
        W.grad = gradient
        ours = {} if seed is None else dict(keep_prob=p, seed=seed, mask=mask, rescale=True)
        (torch_twin(cls) if seed is None else cls)([W], **hyper, **ours).step()
        updates.append(W.detach() - start)
    base, masked = updates[0], torch.stack(updates[1:])
    masks = torch.stack(
        [lrd.keep_mask((6, 40), p, seed=s, step=0, index=0, mask=mask) for s in range(seeds)]
    )
    torch.testing.assert_close(masked, masks * base / p, rtol=1e-7, atol=1e-9)
    error = base.abs() * math.sqrt((1 - p) / p / seeds)
    assert ((masked.mean(0) - base).abs() < 4 * error).all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("compile", [False, True])
def test_at_p_1_a_mask_over_tensors_changes_no_bit(case, compile):
    cls, hyper = CASES[case]
    sides = [
        train(model, cls(model.parameters(), **hyper, keep_prob=1, mask=mask, compile=compile), 5)
        for model, mask in ((net(), "element"), (net(), "tensor"))
    ]
    assert torch.equal(*sides)


def test_the_mask_travels_in_the_state_and_may_differ_by_group():
    params = [nn.Parameter(torch.zeros(60, 50)) for _ in range(2)]
    groups = [{"params": params[:1], "mask": "row"}, {"params": params[1:], "rescale": True}]
    state = lrd.SGD(groups, lr=1.0, mask="tensor", keep_prob=0.25, seed=3).state_dict()
    optimizer = lrd.SGD([{"params": params[:1]}, {"params": params[1:]}], lr=9.0)
    optimizer.load_state_dict(state)
    for _ in range(8):
        for param in params:
            param.grad = torch.ones(60, 50)
        optimizer.step()
    for index, (param, mask, scale) in enumerate(zip(params, UNITS, (1, 4), strict=True)):
        masks = [
            lrd.keep_mask((60, 50), 0.25, seed=3, step=t, index=index, mask=mask) for t in range(8)
        ]
        assert torch.equal(-param.detach(), scale * torch.stack(masks).float().sum(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(mask="column"), "mask must be 'element', 'row' or 'tensor', got 'column'"),
        (dict(mask=None), "mask must be"),
        (dict(rescale=1), "rescale must be True or False, got 1"),
    ],
)
def test_what_is_no_mask_is_refused(arguments, message):
    (name,) = arguments
    with pytest.raises(ValueError, match=message):
        lrd.Adam([nn.Parameter(torch.zeros(2))], **arguments)
    W = nn.Parameter(torch.zeros(2))
    optimizer = lrd.Adam([W])
    optimizer.param_groups[0].update(arguments)
    W.grad = torch.ones(2)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert not W.any()
    with pytest.raises(AttributeError, match=name):
        setattr(optimizer, name, "row")


@pytest.mark.parametrize("mask", UNITS)
def test_a_row_of_more_elements_than_a_block_is_one_draw(mask):
    """Elements of the last two rows of three, beyond 2^30, without making the tensor."""
    whole = (3, 1 << 30)
    draw = Draw(threshold(0.5), 0, 0, 0, unit_of(mask, whole))
    expected = [True, mask == "tensor", True]  # of rows the bits of a vector, else its first
    for offset, size in (((2, 7), (1, 500)), ((1, 7), (2, 500))):
        found = shards.local_mask(torch.empty(size), shards.Part(whole, offset, size), draw)
        for bit, row in zip(expected[offset[0] :], found, strict=True):
            assert (row == bit).all()
