"""The keep mask D_t of Learning Rate Dropout: a pure function of a few integers.

D_t ~ Bernoulli(p), one draw per scalar parameter and per step (arXiv:1912.00144, Algorithm 1,
line 10). Every draw is a hash of (seed, parameter index, step, flat element index) in 32-bit
integer arithmetic. Nothing is stored and no generator is consumed, so the same bits come out on
every device, eager or compiled, for any number of threads, processes or shards, and after any
restart. **The bits are frozen**: golden vectors in the tests hold them.

A mask over rows or over the tensor has one draw for each, by its number in the place of an
element's: elements number k·unit … (k + 1)·unit − 1 share draw k.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 1 << 30  # elements that one key serves; the element index inside a block fits an int32
_CHUNK = 1 << 16  # elements hashed at once on a CPU, so that temporaries stay in its cache
_GPU_CHUNK = 1 << 24  # and on a GPU, so that they stay small
_WORD = 0xFFFFFFFF
_PARAMETER_LANES = (0x9E3779B9, 0x85EBCA6B)
_STEP_LANES = (0xC2B2AE35, 0x27D4EB2F)


MASKS = ("element", "row", "tensor")


class Draw(NamedTuple):
    """What decides the mask of a parameter at a step: two parameters' differ by `index`."""

    limit: int | None  # `threshold` of the keep probability; None where the hash itself is asked
    seed: int
    index: int
    step: int
    unit: int = 1  # elements, one after the other in the whole parameter, that share a draw


def check_mask(mask: str) -> str:
    """Return `mask`; ValueError unless it names what one draw decides on."""
    if mask not in MASKS:
        raise ValueError(f"mask must be 'element', 'row' or 'tensor', got {mask!r}")
    return mask


def unit_of(mask: str, shape: Sequence[int]) -> int:
    """How many elements of a parameter of `shape` share a draw.

    A row is all behind one index of the first dimension; of a vector it is an element.
    """
    if mask == "element":
        return 1
    return max(math.prod(shape[1:] if mask == "row" else shape), 1)


def check_keep_prob(keep_prob: float) -> float:
    """Return `keep_prob` as a float; ValueError unless it is a number in (0, 1]."""
    try:
        value = math.nan if _no_number(keep_prob) else float(keep_prob)
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 < value <= 1.0:
        raise ValueError(
            f"keep_prob must be a number in (0, 1], got {keep_prob!r}; it is the probability "
            "that a parameter is updated (1 is the plain optimizer)"
        )
    return value


def check_switch(name: str, given: bool) -> bool:
    """Return what is given; ValueError unless it is True or False."""
    if not isinstance(given, bool):
        raise ValueError(f"{name} must be True or False, got {given!r}")
    return given


def check_seed(seed: int) -> int:
    """Return `seed` as an int; ValueError unless it is an integer of any type in [0, 2^64)."""
    return _check_integer("seed", seed, 64)


def check_index(index: int, name: str = "index") -> int:
    """Return `index` as an int; ValueError unless it is an integer of any type in [0, 2^32)."""
    return _check_integer(name, index, 32)


def _check_integer(name: str, given: int, bits: int) -> int:
    try:
        value = -1 if _no_number(given) else operator.index(given)
    except TypeError:
        value = -1
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name} must be an integer in [0, 2**{bits}), got {given!r}")
    return value


def _no_number(given: object) -> bool:
    """Whether it is text or a truth value, Python's or an array's, which may pass for a number."""
    return isinstance(given, (str, bytes, bool)) or "bool" in str(getattr(given, "dtype", ""))


def _mix(word: int) -> int:
    """Bijection of 32-bit words with full avalanche: two rounds of xor-shift and multiply.

    Constants: C. Wellons' "lowbias32", https://nullprogram.com/blog/2018/07/31/.
    """
    word ^= word >> 16
    word = word * 0x7FEB352D & _WORD
    word ^= word >> 15
    word = word * 0x846CA68B & _WORD
    return word ^ word >> 16


def _hash(lane: int, *parts: int) -> int:
    word = lane
    for part in parts:
        word = _mix((word ^ part) + lane & _WORD)
    return word - (1 << 32) if word >> 31 else word  # as a signed 32-bit integer


@functools.lru_cache(maxsize=1 << 16)
def parameter_words(seed: int, index: int, block: int = 0) -> tuple[int, int]:
    """The share of seed, parameter and block in the two words of the mask's key."""
    first, second = (
        _hash(lane, seed & _WORD, seed >> 32, index, block) for lane in _PARAMETER_LANES
    )
    return first, second


@functools.lru_cache(maxsize=1 << 10)
def step_words(step: int) -> tuple[int, int]:
    """The step's share; the key is the exclusive or of both shares, word by word."""
    first, second = (_hash(lane, step) for lane in _STEP_LANES)
    return first, second


def threshold(keep_prob: float) -> int:
    """The largest signed 32-bit draw that is kept: P(draw <= threshold) = keep_prob ± 2^-32.

    Raises ValueError for a keep_prob outside (0, 1], which a param group may have come to.
    """
    return max(round(check_keep_prob(keep_prob) * (1 << 32)), 1) - 1 - (1 << 31)


def keep_mask(
    shape: Sequence[int] | int,
    keep_prob: float,
    *,
    seed: int,
    step: int,
    index: int,
    device: torch.device | str = "cpu",
    mask: str = "element",
) -> Tensor:
    """The mask that an lrd optimizer draws: bool tensor of `shape`, True where updated.

    `index` is the parameter's position over all param_groups, `step` the number of updates that
    this parameter has had before. `mask` says what one draw decides on: an "element", a "row" (all
    behind one index of the first dimension; of a vector, an element) or the whole "tensor".
    Element i of the flattened (row-major) tensor depends on i alone, or on the number of its row,
    so a shard's mask is a slice of the whole one.

    Raises ValueError for a keep_prob outside (0, 1], for a seed, step or index that is negative,
    too large or no integer, and for another `mask`.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    draw = Draw(
        threshold(keep_prob),
        check_seed(seed),
        check_index(index),
        check_index(step, "step"),
        unit_of(check_mask(mask), shape),
    )
    return flat_mask(math.prod(shape), draw, device).view(shape)


def flat_mask(numel: int, draw: Draw, device: torch.device | str) -> Tensor:
    """`keep_mask` flattened, without its checks; of a draw without a limit, its hash, int32."""
    dtype = torch.int32 if draw.limit is None else torch.bool
    mask = torch.empty(numel, dtype=dtype, device=device)
    if draw.unit > 1:
        units = flat_mask(-(-numel // draw.unit), draw._replace(unit=1), device)
        return units.repeat_interleave(draw.unit)[:numel]
    chunk = chunk_of(mask.device)
    ramp = torch.arange(min(chunk, numel), dtype=torch.int32, device=mask.device)
    x, shifted = torch.empty_like(ramp), torch.empty_like(ramp)
    step0, step1 = step_words(draw.step)
    for low in range(0, numel, chunk):
        block, within = divmod(low, BLOCK)
        word0, word1 = parameter_words(draw.seed, draw.index, block)
        part = mask[low : low + chunk]
        n = len(part)
        # `within` is a multiple of the chunk, a power of two: adding it is an exclusive or
        key0 = word0 ^ step0 ^ within
        keep_into(part, ramp[:n], key0, word1 ^ step1, draw.limit, x[:n], shifted[:n])
    return mask


def chunk_of(device: torch.device) -> int:
    """The elements that are hashed at once."""
    return min(BLOCK, _CHUNK if device.type == "cpu" else _GPU_CHUNK)


def keep_into(
    mask: Tensor,
    element: Tensor,
    key0: int,
    key1: int,
    limit: int | None,
    x: Tensor | None = None,
    shifted: Tensor | None = None,
) -> Tensor:
    """Hash int32 element indices to draws, and write to `mask` whether they are kept.

    Without a limit the draws, int32. Three multiplications, two xor-shifts, two key words: the
    fewest at which masks of neighbouring elements, steps and keys pass the tests of independence.
    Elementwise int32 arithmetic that wraps; the masks after the shifts make them logical ones. In
    place, in `x` and `shifted` if there are any: temporaries cost more than the arithmetic.
    """
    x = torch.bitwise_xor(element, key0, out=x).mul_(-0x61C8864F)  # 0x9E3779B1 as a signed word
    x ^= torch.bitwise_right_shift(x, 16, out=shifted).bitwise_and_(0xFFFF)
    x ^= key1
    x.mul_(0x7FEB352D)
    x ^= torch.bitwise_right_shift(x, 15, out=shifted).bitwise_and_(0x1FFFF)
    x.mul_(-0x7B935975)  # 0x846CA68B as a signed word
    # compared in place, as int32, and then copied: torch compares straight into bools far slower
    return mask.copy_(x if limit is None else x.le_(limit))
