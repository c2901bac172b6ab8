"""step.c for GPUs, in Triton: one launch for all tensors, in the same order of operations.

A program takes one tile of one tensor; which one stands in a table of tiles, where the tensor lies
and what its mask's key is in the table that step.c reads. A full tile of tensors that begin at
multiples of 16 bytes is read and written 16 bytes at a time. Division and square root are IEEE's
and nothing is contracted, so that the bits are those of a CPU (which may flush denormal numbers).
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from lrd.kernels.build import CompilationError
from lrd.kernels.gpu_rules import adam, agreeing, changed, drawn, kept, radam, rmsprop, sgdm
from lrd.kernels.table import ROW, Table

_TILE, _WARPS = 2048, 8
_TYPES = {
    "float32": (tl.float32, tl.float32),  # as stored, as computed
    "float64": (tl.float64, tl.float64),
    "bfloat16": (tl.bfloat16, tl.float32),
    "float16": (tl.float16, tl.float32),
}
_FLAGS = ("STATES", "MOMENTUM", "NESTEROV", "CENTERED", "AMSGRAD", "DECOUPLED", "MAXIMIZE")


@functools.cache
def kernel(definitions: tuple[str, ...]) -> Callable[[Table], None]:
    """The kernel for these macros of step.c; CompilationError if it cannot be built."""
    meta = arguments(definitions)
    trial = Table(torch.cuda.current_device() if torch.cuda.is_available() else 0)
    trial.add((), [(0, 0, 0, 0, (1 << 62, 1, 0))], h=[0.0])
    try:
        _run(meta, trial)
    except Exception as error:  # Triton's and the driver's have no class in common
        raise CompilationError(
            f"Triton fails with {type(error).__name__} ({error})", "It needs a C compiler"
        ) from error
    return functools.partial(_run, meta)


def arguments(definitions: tuple[str, ...]) -> dict[str, Any]:
    """The constants of `_step` for the macros that step.c is built with."""
    named = dict(word.split("=") for word in definitions if "=" in word)
    (dtype,) = (word.removeprefix("TYPE_") for word in definitions if word.startswith("TYPE_"))
    stored, real = _TYPES[dtype]
    flags = {name: int(named.get(name, 0)) for name in _FLAGS}
    return {"RULE": named.get("RULE", definitions[0]), **flags, "STORED": stored, "REAL": real}


def _run(meta: dict[str, Any], table: Table) -> None:
    counts = tuple(table.rows[5::ROW])
    device = torch.device("cuda", table.place) if torch.cuda.is_available() else "cpu"
    tiles = _tiles(counts, device)
    numbers = bytearray(table.rows.tobytes() + table.scalars.tobytes())
    layouts = table.layouts.tobytes()
    numbers += layouts + _divisors(layouts) + _divisors(table.rows[10::ROW].tobytes())
    # pageable memory is read before the call returns, and nobody waits for the device
    content = torch.frombuffer(numbers, dtype=torch.int64).to(device, non_blocking=True)
    h, layout = len(table.rows), len(table.rows) + len(table.scalars)
    with torch.cuda.device(table.place if torch.cuda.is_available() else -1):
        _step[(tiles.shape[1],)](
            content, tiles, tiles.shape[1], h, layout, len(table.layouts),
            layout + 2 * len(table.layouts),
            **meta, ROW=ROW, TILE=_TILE, num_warps=_WARPS, enable_fp_fusion=False,
        )  # fmt: skip
    if table.counters:
        torch._foreach_add_(table.counters, 1)


@functools.lru_cache(maxsize=32)
def _tiles(counts: tuple[int, ...], device: Any) -> torch.Tensor:
    """For each program, int32 of shape (2, programs): the row of its tensor, and its tile there."""
    numbers = [max(-(-count // _TILE), 1) for count in counts]
    rows = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(numbers))
    tiles = torch.cat([torch.arange(number) for number in numbers])
    return torch.stack([rows, tiles]).int().to(device)


@functools.lru_cache(maxsize=256)
def _divisors(layouts: bytes) -> bytes:
    """For each size d in layouts, what makes its divisions of n < 2^31 a product: factor + 2^32
    shift, with n // d = n · factor >> 32 + shift (Granlund and Montgomery, 1994)."""
    numbers = array("q")
    for size in memoryview(layouts).cast("q"):
        shift = max((size - 1).bit_length() - 1, 0) if 0 < size < 1 << 31 else 0
        factor = -(-(1 << 32 + shift) // size) if 0 < size < 1 << 31 else 0
        numbers.append((factor & 0xFFFFFFFF) + (shift << 32))
    return numbers.tobytes()


@triton.jit
def _divided(n, divisor):
    return tl.umulhi(n, divisor.to(tl.uint32)) >> (divisor >> 32).to(tl.uint32)


@triton.jit
def _elements(n, first, layouts, divisors):
    """The indices, in their block of the whole tensor, of the elements at places n in memory."""
    stride, outer = tl.load(layouts + 1).to(tl.uint32), tl.load(layouts + 2)
    element = first.to(tl.uint32) + n * stride
    if outer > 0:
        length = tl.load(layouts).to(tl.uint32)
        line = _divided(n, tl.load(divisors))
        element = first.to(tl.uint32) + (n - line * length) * stride
        for i in range(outer):
            size = tl.load(layouts + 3 + 2 * i).to(tl.uint32)
            stride = tl.load(layouts + 4 + 2 * i).to(tl.uint32)
            next_line = _divided(line, tl.load(divisors + 3 + 2 * i))
            element += (line - next_line * size) * stride
            line = next_line
    return element


@triton.jit
def _at(row, number: tl.constexpr, n, STORED: tl.constexpr, FULL: tl.constexpr):
    """Pointers to a tile of the row's tensor `number`."""
    places = tl.load(row + number).to(tl.pointer_type(STORED)) + n
    return tl.max_contiguous(tl.multiple_of(places, 16), 16) if FULL else places


@triton.jit
def _change(
    row, h, n, word, inside, RULE: tl.constexpr, STORED: tl.constexpr, REAL: tl.constexpr,
    FULL: tl.constexpr,
):  # fmt: skip
    """A tile of what is around an optimizer that masks nothing: the copy before, a formula after.

    `inside` says which of its elements there are, unless it is FULL.
    """
    mask: tl.constexpr = None if FULL else inside
    at_W, at_old = _at(row, 0, n, STORED, FULL), _at(row, 1, n, STORED, FULL)
    W, limit = tl.load(at_W, mask=mask), tl.load(row + 9)
    if RULE == "KEEP_COPY":
        tl.store(at_old, W, mask=mask)
    elif RULE == "PUT_BACK":
        tl.store(at_W, tl.where(kept(word, limit), W, tl.load(at_old, mask=mask)), mask=mask)
    else:
        w, old = W.to(REAL), tl.load(at_old, mask=mask).to(REAL)
        G = old
        if RULE == "CAUTIOUS" or RULE == "AGREEING":
            G = tl.load(_at(row, 2, n, STORED, FULL), mask=mask).to(REAL)
        if RULE == "AGREEING":
            count = tl.sum((agreeing(w, old, G, h, REAL) & inside).to(tl.int64))
            if tl.load(row + 3) != 0:
                tl.atomic_add(tl.load(row + 3).to(tl.pointer_type(tl.int64)), count)
        else:
            w = changed(w, old, G, word, limit, h, RULE, REAL)
            tl.store(at_W, w.to(STORED), mask=mask)


@triton.jit
def _update(
    row, h, n, D, inside, RULE: tl.constexpr, STATES: tl.constexpr, MOMENTUM: tl.constexpr,
    NESTEROV: tl.constexpr, CENTERED: tl.constexpr, AMSGRAD: tl.constexpr, DECOUPLED: tl.constexpr,
    MAXIMIZE: tl.constexpr, STORED: tl.constexpr, REAL: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """A tile; `inside` says which of its elements there are, unless it is FULL."""
    mask: tl.constexpr = None if FULL else inside
    at_W, at_G = _at(row, 0, n, STORED, FULL), _at(row, 1, n, STORED, FULL)
    old = tl.load(at_W, mask=mask)
    W, G = old.to(REAL), tl.load(at_G, mask=mask).to(REAL)
    S0, S1, S2 = G, G, G
    if STATES > 0:
        S0 = tl.load(_at(row, 2, n, STORED, FULL), mask=mask).to(REAL)
    if STATES > 1:
        S1 = tl.load(_at(row, 3, n, STORED, FULL), mask=mask).to(REAL)
    if STATES > 2:
        S2 = tl.load(_at(row, 4, n, STORED, FULL), mask=mask).to(REAL)
    alpha, decay = tl.load(h).to(REAL), tl.load(h + 1).to(REAL)
    if MAXIMIZE:
        G = G * -1.0
    if not DECOUPLED:
        G = tl.where(decay != 0, G + decay * W, G)
    if RULE == "sgdm":
        delta, S0 = sgdm(G, S0, h, MOMENTUM, NESTEROV, REAL)
    elif RULE == "rmsprop":
        delta, S0, S1, S2 = rmsprop(G, S0, S1, S2, h, MOMENTUM, CENTERED, REAL)
    elif RULE == "adam":
        delta, S0, S1, S2 = adam(G, S0, S1, S2, h, AMSGRAD, REAL)
    else:
        tl.static_assert(RULE == "radam")
        delta, S0, S1 = radam(G, S0, S1, h, REAL)
    if DECOUPLED:
        delta = tl.where(decay != 0, delta + decay * W, delta)
    tl.store(at_W, tl.where(D, (W - alpha * delta).to(STORED), old), mask=mask)
    if STATES > 0:
        tl.store(_at(row, 2, n, STORED, FULL), S0.to(STORED), mask=mask)
    if STATES > 1:
        tl.store(_at(row, 3, n, STORED, FULL), S1.to(STORED), mask=mask)
    if STATES > 2:
        tl.store(_at(row, 4, n, STORED, FULL), S2.to(STORED), mask=mask)


@triton.jit
def _step(
    numbers, tiles, programs, scalars, layouts, divisors, units, RULE: tl.constexpr,
    STATES: tl.constexpr,
    MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, CENTERED: tl.constexpr, AMSGRAD: tl.constexpr,
    DECOUPLED: tl.constexpr, MAXIMIZE: tl.constexpr, STORED: tl.constexpr, REAL: tl.constexpr,
    ROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """`numbers` holds the rows, and from these places on scalars, layouts and the divisors of rows'
    units; layouts' divisors lie as far behind those as there are layouts."""
    program = tl.program_id(0)
    number = tl.load(tiles + program)
    row = numbers + number * ROW
    begin = tl.load(tiles + programs + program) * TILE
    n = begin + tl.arange(0, TILE)
    count = tl.load(row + 5)
    layout = numbers + layouts + tl.load(row + 12)
    element = _elements(n.to(tl.uint32), tl.load(row + 6), layout, layout + divisors)
    if tl.load(row + 10) > 1:  # elements share a draw
        element = _divided(element, tl.load(numbers + units + number))
    word = drawn(element, tl.load(row + 7), tl.load(row + 8))
    h = numbers.to(tl.pointer_type(tl.float64)) + scalars + tl.load(row + 11) * 8
    addresses = tl.load(row) | tl.load(row + 1)
    addresses |= tl.load(row + 2) | tl.load(row + 3) | tl.load(row + 4)
    full = (begin + TILE <= count) & (addresses % 16 == 0)
    if RULE == "sgdm" or RULE == "rmsprop" or RULE == "adam" or RULE == "radam":
        D = kept(word, tl.load(row + 9))
        if full:
            _update(row, h, n, D, n < count, RULE, STATES, MOMENTUM, NESTEROV, CENTERED, AMSGRAD,
                    DECOUPLED, MAXIMIZE, STORED, REAL, True)  # fmt: skip
        else:
            _update(row, h, n, D, n < count, RULE, STATES, MOMENTUM, NESTEROV, CENTERED, AMSGRAD,
                    DECOUPLED, MAXIMIZE, STORED, REAL, False)  # fmt: skip
    elif full:
        _change(row, h, n, word, n < count, RULE, STORED, REAL, True)
    else:
        _change(row, h, n, word, n < count, RULE, STORED, REAL, False)
