"""The fused step: one compiled pass that reads each tensor once and makes the mask in registers.

`torch.compile` turns `masked_step` over a handful of tensors into one kernel with dynamic sizes.
It is compiled once for a rule, dtype, device and thread count, serves every model, and is handed
all numbers that change (learning rate, keep probability, keys, bias corrections) as tensors, so
that none of them causes a recompilation. Its guards are skipped, which keeps a call cheap:
`Plan`, the one caller, prepares arguments of exactly the compiled kind.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from itertools import chain, groupby
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.mask import BLOCK, kept, parameter_words, step_words, threshold
from lrd.rules import Row, Rule, masked_step, scalars

TENSORS_PER_CALL = 8  # more: fewer calls a step; fewer: a shorter compilation (0.8 s a tensor)
_COLUMNS = 4096  # longest line of a piece on a CPU: its element indices stay in the L1 cache
_SCALARS = 8  # α, λ and what the rules add, padded to one length


class CompilationError(RuntimeError):
    """torch.compile could not build the fused step, most often for want of a C++ compiler."""


@functools.cache
def fused_kernel(rule: Rule, dtype: torch.dtype, device: str, threads: int) -> Callable[..., None]:
    """Compile `masked_step` of one rule for `TENSORS_PER_CALL` matrices of any sizes.

    `threads` keys the cache: torch bakes their number into CPU kernels.
    """

    def kernel(Ws, Gs, states, words, h, columns):
        for row, (W, G, *state) in enumerate(zip(Ws, Gs, *states, strict=True)):
            lines, length = W.shape
            line = torch.arange(lines, dtype=torch.int32, device=W.device)[:, None] * length
            column = (
                torch.arange(length, dtype=torch.int32, device=W.device)
                if columns is None
                else columns[:length]
            )
            element = line + words[row, 3] + column
            D = kept(element, words[row, 0], words[row, 1], words[row, 2])
            new_W, new_state = masked_step(rule, W, G, tuple(state), h, D)
            W.copy_(new_W)
            for tensor, new in zip(state, new_state, strict=True):
                tensor.copy_(new)

    # torch.compile keeps its results on the code object: one code object for each variant
    code = kernel.__code__.replace(co_name=f"lrd_{rule.update.__name__}")
    kernel = types.FunctionType(code, kernel.__globals__, code.co_name, None, kernel.__closure__)
    compiled = torch.compile(
        kernel,
        fullgraph=True,
        dynamic=True,
        options={"guard_filter_fn": lambda guards: [False] * len(guards), "size_asserts": False},
    )
    # Traced with sizes that all differ: the compiler takes equal ones to be equal for ever. And
    # with gaps between lines, or it would merge the lines where a result does not meet `columns`
    # (momentum does not), which parts the one pass into two.
    sizes = [(64 + row, 1024 + 16 * row) for row in range(TENSORS_PER_CALL)]
    W, G, *state = (
        [torch.zeros(n, m + 1000, dtype=dtype, device=device)[:, :m] for n, m in sizes]
        for _ in range(2 + len(rule.state))
    )
    words = torch.zeros(TENSORS_PER_CALL, 4, dtype=torch.int32, device=device)
    h = torch.zeros(_SCALARS, dtype=_scalar_dtype(dtype), device=device)
    try:
        compiled(W, G, state, words, h, _columns(device))
    except Exception as error:  # compilers raise many kinds of exception; the cause is kept
        reason = (str(error).strip() or "no message").splitlines()[0]
        raise CompilationError(
            f"torch.compile failed on the fused LRD step ({type(error).__name__}: {reason}). "
            "Install a C++ compiler such as g++ and Python's headers, or pass compile=False for "
            "the eager step"
        ) from error
    return compiled


@functools.cache
def _columns(device: str) -> Tensor | None:
    """0, 1, 2, … for CPUs, whose compiler builds arange from scalars at each vector."""
    return torch.arange(_COLUMNS, dtype=torch.int32) if device == "cpu" else None


def _scalar_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


class _Piece(NamedTuple):
    """A contiguous part of a parameter as a matrix, with the same part of its state."""

    number: int  # of its row in the plan
    row: Row
    part: slice | None  # of the flat parameter; None if it is all of it
    W: Tensor
    state: list[Tensor]
    words: tuple[int, int, int, int]  # key shares, place for the limit, first element


class _Call(NamedTuple):
    """One call of a kernel: up to TENSORS_PER_CALL pieces that share group, step and kind."""

    kernel: Callable[..., None]
    pieces: list[_Piece]
    padding: list[Tensor]  # empty matrices that fill the call up
    W: list[Tensor]
    state: list[list[Tensor]]
    words: Tensor
    columns: Tensor | None


class Plan:
    """The calls that make up a fused step, with views of all that stays between steps.

    Made once and used for as long as the same tensors come in (`fits`): a step then costs a few
    small tensor operations besides its kernels. Step counters become views of one tensor.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._counts = [float(row.state["step"]) for row in rows]
        self._steps = torch.tensor(self._counts)
        for row, step in zip(rows, self._steps, strict=True):
            row.state["step"] = step
        self._tensors, self._pointers = _identity(rows)

        def kind(numbered: tuple[int, Row]) -> tuple[Any, ...]:
            number, row = numbered
            W = row.param
            return row.group_index, str(W.device), str(W.dtype), self._counts[number]

        # in descending size, so that a call's tensors are alike
        numbered = sorted(enumerate(rows), key=lambda pair: -pair[1].param.numel())
        self._calls = []
        for _, alike in groupby(sorted(numbered, key=kind), key=kind):
            pieces = [piece for number, row in alike for piece in _pieces(number, row)]
            for first in range(0, len(pieces), TENSORS_PER_CALL):
                self._calls.append(_call(pieces[first : first + TENSORS_PER_CALL]))

    def fits(self, rows: list[Row]) -> bool:
        """Whether `rows` are the tensors that the plan was made for, at the steps it left."""
        tensors, pointers = _identity(rows)
        return (
            len(tensors) == len(self._tensors)
            and all(map(is_, tensors, self._tensors))
            and pointers == self._pointers
            and self._steps.tolist() == self._counts
        )

    def step(self) -> None:
        """Update every parameter of the plan."""
        self._steps += 1
        self._counts = self._steps.tolist()
        shared: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}
        for call in self._calls:
            lead, W = call.pieces[0], call.W[0]
            t = int(self._counts[lead.number])
            kind = (lead.row.group_index, t, W.dtype, W.device)
            if kind not in shared:
                shared[kind] = _step_tensors(lead.row, t, W)
            words, h = shared[kind]
            G = [_gradient(piece) for piece in call.pieces]
            call.kernel(call.W, G + call.padding, call.state, call.words ^ words, h, call.columns)


def _identity(rows: list[Row]) -> tuple[list[Any], list[int]]:
    """What must stay the same for a plan to hold: objects, and addresses of parameters."""
    objects = list(chain.from_iterable((row.param, row.rule, *row.state.values()) for row in rows))
    return objects, [row.param.data_ptr() for row in rows]


def _gradient(piece: _Piece) -> Tensor:
    grad = piece.row.param.grad
    if grad.dtype != piece.W.dtype:  # kernels do not check what they are handed
        grad = grad.to(piece.W.dtype)
    if piece.part is not None:
        grad = grad.reshape(-1)[piece.part]
    return grad.reshape(piece.W.shape)


def _pieces(number: int, row: Row) -> list[_Piece]:
    """Cut a parameter into matrices, on a CPU of at most `_COLUMNS` columns."""
    W, numel = row.param.detach().view(-1), row.param.numel()
    state = [row.state[name].view(-1) for name in row.rule.state]
    if any(tensor.dtype != W.dtype or tensor.numel() != numel for tensor in state):
        kinds = [f"{name} {row.state[name].dtype}" for name in row.rule.state]
        raise RuntimeError(
            f"state that does not fit its parameter of {numel} elements, {W.dtype}: "
            f"{', '.join(kinds)}. Load or set state of the parameter's shape and dtype"
        )
    pieces = []
    for first, (lines, length) in _matrices(numel, _COLUMNS if W.device.type == "cpu" else BLOCK):
        part, size = slice(first, first + lines * length), (lines, length)
        key = parameter_words(row.group["seed"], row.index, first // BLOCK)
        pieces.append(
            _Piece(
                number,
                row,
                None if lines * length == numel else part,
                W[part].view(size),
                [tensor[part].view(size) for tensor in state],
                (*key, 0, first % BLOCK),
            )
        )
    return pieces


def _matrices(numel: int, longest: int) -> list[tuple[int, tuple[int, int]]]:
    """First element and (lines, length) of the matrices that `numel` elements are cut into.

    One matrix if a good line length divides `numel`: a multiple of 16, which is a CPU's widest
    vector of float32, and not short. Otherwise the longest lines, and the rest on its own.
    """
    found = []
    for start in range(0, numel, BLOCK):
        size = min(BLOCK, numel - start)
        good = range(longest, min(longest, 256) - 1, -16)
        length = next((c for c in good if size % c == 0), longest) if size > longest else size
        lines = size // length
        if lines:
            found.append((start, (lines, length)))
        if size % length:
            found.append((start + lines * length, (1, size % length)))
    return found


def _call(pieces: list[_Piece]) -> _Call:
    W, rule = pieces[0].W, pieces[0].row.rule
    device = str(W.device)
    missing = TENSORS_PER_CALL - len(pieces)
    padding = [W.new_empty(0, 0)] * missing
    states = [
        [piece.state[place] for piece in pieces] + padding for place in range(len(rule.state))
    ]
    words = [piece.words for piece in pieces] + [(0, 0, 0, 0)] * missing
    return _Call(
        fused_kernel(rule, W.dtype, device, torch.get_num_threads()),
        pieces,
        padding,
        [piece.W for piece in pieces] + padding,
        states,
        torch.tensor(words, dtype=torch.int32, device=W.device),
        _columns(device),
    )


def _step_tensors(row: Row, t: int, W: Tensor) -> tuple[Tensor, Tensor]:
    """The step's share in the words, and its scalars, on the parameter's device.

    A learning rate that is a tensor is copied there without being read by the host.
    """
    words = torch.tensor(
        [*step_words(t - 1), threshold(row.group["keep_prob"]), 0], dtype=torch.int32
    )
    alpha, *others = scalars(row.rule, row.group, t)
    values = [0.0 if isinstance(alpha, Tensor) else alpha, *others]
    values += [0.0] * (_SCALARS - len(values))
    h = torch.tensor(values, dtype=_scalar_dtype(W.dtype)).to(W.device, non_blocking=True)
    if isinstance(alpha, Tensor):
        h[0] = alpha
    return words.to(W.device, non_blocking=True), h
