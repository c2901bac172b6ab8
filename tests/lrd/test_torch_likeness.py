"""At keep_prob=1 as torch, numbers that are not finite included, and counters of any type."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import lrd
from helpers.optimizers import CASES, torch_twin

SPECIAL = [0.0, -0.0, 1.0, -2.5, 1e-30, 1e30, float("inf"), -float("inf"), float("nan")]
UNDECAYED = [
    name
    for name, (cls, hyper) in CASES.items()
    if "weight_decay" not in hyper and cls is not lrd.AdamW  # which decays by itself
]


def follow(case, compile, gradients, start):
    """Weights and state after these gradients, of ours and of torch's optimizer."""
    cls, hyper = CASES[case]
    sides = []
    for optimizer_class in (torch_twin(cls), cls):
        ours = {"keep_prob": 1.0, "compile": compile} if optimizer_class is cls else {}
        W = nn.Parameter(torch.tensor(start))
        optimizer = optimizer_class([W], **hyper, **ours)
        for gradient in gradients:
            W.grad = gradient.clone()
            optimizer.step()
        state = optimizer.state[W]
        sides.append({"W": W.detach(), **{k: v for k, v in state.items() if v is not None}})
    return sides


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_that_are_not_finite_do_what_they_do_in_torch(case, compile):
    # where torch fuses a product and a sum, V − Ḡ² is no NaN although both overflow
    special = [value for value in SPECIAL if value != 1e30 or "centered" not in CASES[case][1]]
    count = len(special)
    gradients = [torch.tensor(special).roll(shift) for shift in (0, 1, 4)]
    gradients += [torch.ones(count), torch.zeros(count)]
    for last in range(1, 1 + len(gradients)):
        theirs, ours = follow(case, compile, gradients[:last], [0.5] * count)
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, equal_nan=True, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("case", UNDECAYED)
def test_weights_that_are_not_finite_infect_nothing_without_weight_decay(case, compile):
    gradients = [torch.ones(len(SPECIAL)), torch.zeros(len(SPECIAL))]
    theirs, ours = follow(case, compile, gradients, SPECIAL)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, equal_nan=True, rtol=1e-4, atol=1e-6)


def with_step(cls, params, **hyper):
    """An optimizer of ours, or torch's in a wrapper."""
    if cls is lrd.LearningRateDropout:
        return cls(torch.optim.SGD(params, lr=1.0), **hyper)
    return cls(params, lr=1.0, **hyper)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("cls", [lrd.SGD, lrd.LearningRateDropout])
def test_masks_go_on_changing_whatever_torchs_default_dtype_is(cls, compile, dtype):
    torch.set_default_dtype(dtype)
    try:
        W = nn.Parameter(torch.zeros(100, dtype=torch.float32))
        optimizer = with_step(cls, [W], compile=compile)
        for _ in range(300):
            W.grad = torch.ones(100, dtype=torch.float32)
            optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    masks = [lrd.keep_mask(100, 0.5, seed=0, step=step, index=0) for step in range(300)]
    assert torch.equal(-W.detach(), torch.stack(masks).float().sum(0))
    if cls is lrd.SGD:
        assert optimizer.state[W]["step"].dtype == torch.float32


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("step", [torch.tensor(256.0).bfloat16(), torch.tensor(256).half(), 256])
@pytest.mark.parametrize("loaded", [True, False])
def test_counters_of_another_type_are_promoted(step, compile, loaded):
    W = nn.Parameter(torch.zeros(100))
    optimizer = lrd.SGD([W], lr=1.0, compile=compile)
    if loaded:
        optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: {"step": step}}})
    else:
        optimizer.state[W]["step"] = step
    for _ in range(2):
        W.grad = torch.ones(100)
        optimizer.step()
    assert optimizer.state[W]["step"] == 258
    masks = [lrd.keep_mask(100, 0.5, seed=0, step=step, index=0) for step in (256, 257)]
    assert torch.equal(-W.detach(), masks[0].float() + masks[1].float())


INTEGERS = [np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor(3, dtype=torch.int16)]


@pytest.mark.parametrize("seed", INTEGERS, ids=repr)
def test_a_seed_of_any_integer_type_is_stored_as_an_int(seed):
    for cls in (lrd.SGD, lrd.LearningRateDropout):
        for optimizer in (
            with_step(cls, [nn.Parameter(torch.zeros(2))], seed=seed),
            with_step(cls, [{"params": [nn.Parameter(torch.zeros(2))]}], seed=seed),
        ):
            name = "seed" if cls is lrd.SGD else "mask_seed"
            assert type(optimizer.param_groups[0][name]) is int
            assert optimizer.param_groups[0][name] == 3
    masks = [lrd.keep_mask(64, 0.5, seed=each, step=each, index=each) for each in (3, seed)]
    assert torch.equal(*masks)


@pytest.mark.parametrize("keep_prob", ["0.5", b"0.5", True, np.bool_(True), torch.tensor(True)])
def test_what_only_looks_like_a_probability_is_refused(keep_prob):
    params = [nn.Parameter(torch.zeros(2))]
    for cls in (lrd.SGD, lrd.LearningRateDropout):
        with pytest.raises(ValueError, match=r"keep_prob must be a number in \(0, 1\], got"):
            with_step(cls, params, keep_prob=keep_prob)
        optimizer = with_step(cls, params)
        optimizer.param_groups[0]["keep_prob"] = keep_prob
        params[0].grad = torch.ones(2)
        with pytest.raises(ValueError, match=r"keep_prob must be a number in \(0, 1\], got"):
            optimizer.step()
        assert not params[0].any()


@pytest.mark.parametrize("keep_prob", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), 1])
def test_numbers_of_other_types_are_probabilities(keep_prob):
    for cls in (lrd.SGD, lrd.LearningRateDropout):
        optimizer = with_step(cls, [nn.Parameter(torch.zeros(2))], keep_prob=keep_prob)
        assert type(optimizer.param_groups[0]["keep_prob"]) is float


def test_an_attribute_that_would_do_nothing_cannot_be_set():
    for cls, names in (
        (lrd.Adam, ["keep_prob", "seed", "index_offset"]),
        (lrd.LearningRateDropout, ["keep_prob", "mask_seed", "index_offset"]),
    ):
        optimizer = with_step(cls, [nn.Parameter(torch.zeros(2))])
        for name in names:
            with pytest.raises(AttributeError, match=rf"param_groups\[i\]\['{name}'\]"):
                setattr(optimizer, name, 0.9)
            assert not hasattr(optimizer, name)


def test_a_subclass_shows_its_own_signature_and_else_ours():
    class Own(lrd.Adam):
        def __init__(self, params, decay_rate=1.0):
            super().__init__(params)

    class Same(lrd.Adam):
        pass

    class Mixed(torch.optim.SGD):
        def __init__(self, params, warmup=3):
            super().__init__(params)

    class Inherited(Mixed, lrd.SGD):
        pass

    assert [*inspect.signature(Own).parameters] == ["params", "decay_rate"]
    assert [*inspect.signature(Inherited).parameters][:2] == ["params", "warmup"]
    assert inspect.signature(Same) == inspect.signature(lrd.Adam)
    assert "keep_prob" in inspect.signature(Same).parameters
