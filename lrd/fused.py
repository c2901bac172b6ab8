"""The fused step: one compiled pass that reads each tensor once and makes the mask in registers.

A `Plan` cuts parameters into the matrices that the kernel wants and calls it on a handful at a
time. Kernels check nothing: the plan prepares arguments of exactly the compiled kind.
"""

from __future__ import annotations

from itertools import chain, groupby
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.kernel import (
    COLUMNS,
    SCALARS,
    TENSORS_PER_CALL,
    Kernel,
    Matrices,
    column_numbers,
    fused_kernel,
    scalar_dtype,
)
from lrd.mask import BLOCK, parameter_words, step_words, threshold
from lrd.rules import Row, scalars


class _Piece(NamedTuple):
    """A contiguous part of a parameter as a matrix, with the same part of its state."""

    number: int  # of its row in the plan
    row: Row
    part: slice | None  # of the flat parameter; None if it is all of it
    W: Tensor
    state: list[Tensor]
    words: tuple[int, int, int, int]  # key shares, place for the limit, first element


class _Call(NamedTuple):
    """One call of a kernel on up to TENSORS_PER_CALL pieces."""

    pieces: list[_Piece]
    arguments: list[Any]  # of which gradients, words and h are renewed at each step
    gradients: list[int]  # their places


class _Batch(NamedTuple):
    """The calls for pieces that share param group, step, dtype and device."""

    kernel: Kernel
    lead: _Piece
    words: Tensor  # (calls, TENSORS_PER_CALL, 4), the parameters' share
    calls: list[_Call]


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
        self._tensors, self._numbers = _identity(rows)

        def kind(numbered: tuple[int, Row]) -> tuple[Any, ...]:
            number, row = numbered
            W = row.W
            return row.group_index, str(W.device), str(W.dtype), self._counts[number]

        # in descending size, so that a call's tensors are alike
        numbered = sorted(enumerate(rows), key=lambda pair: -pair[1].W.numel())
        self._batches = []
        for _, alike in groupby(sorted(numbered, key=kind), key=kind):
            pieces = [piece for number, row in alike for piece in _pieces(number, row)]
            if pieces:  # a parameter may be empty
                self._batches.append(_batch(pieces))

    def fits(self, rows: list[Row]) -> bool:
        """Whether `rows` are the tensors that the plan was made for, at the steps it left."""
        tensors, numbers = _identity(rows)
        return (
            len(tensors) == len(self._tensors)
            and all(map(is_, tensors, self._tensors))
            and numbers == self._numbers
            and self._steps.tolist() == self._counts
        )

    def step(self) -> None:
        """Update every parameter of the plan."""
        self._steps += 1
        self._counts = self._steps.tolist()
        for kernel, lead, words, calls in self._batches:
            step_share, h = _step_tensors(lead.row, int(self._counts[lead.number]), lead.W)
            words_place, h_place = kernel.words, kernel.h
            for call, share in zip(calls, (words ^ step_share).unbind(), strict=True):
                arguments = call.arguments.copy()
                arguments[words_place], arguments[h_place] = share, h
                for place, piece in zip(call.gradients, call.pieces, strict=True):
                    arguments[place] = _gradient(piece)
                kernel.function(*arguments)


def _identity(rows: list[Row]) -> tuple[list[Any], list[int]]:
    """What must stay the same for a plan to hold: objects; addresses of tensors, and seeds."""
    objects = list(chain.from_iterable((row.param, row.rule, *row.state.values()) for row in rows))
    numbers = [row.group["seed"] for row in rows]
    for row in rows:
        if row.part is None:  # without the properties, which cost as much as all the rest
            numbers.append(row.param.data_ptr())
            numbers += [row.state[name].data_ptr() for name in row.rule.state]
        else:
            numbers += [tensor.data_ptr() for tensor in (row.W, *row.tensors)]
    return objects, numbers


def _gradient(piece: _Piece) -> Tensor:
    """The gradient's part, of the dtype and the layout that the kernel takes for granted.

    In the parameter's own shape: the kernel goes by the sizes that it is handed.
    """
    grad = piece.row.param.grad if piece.row.part is None else piece.row.G
    if grad.dtype != piece.W.dtype:
        grad = grad.to(piece.W.dtype)
    if not grad.is_contiguous():
        grad = grad.contiguous()
    return grad if piece.part is None else grad.view(-1)[piece.part]


def _pieces(number: int, row: Row) -> list[_Piece]:
    """Cut a parameter into matrices, on a CPU of at most `COLUMNS` columns."""
    W, numel = row.W.detach().view(-1), row.W.numel()
    state = [tensor.view(-1) for tensor in row.tensors]
    if any(tensor.dtype != W.dtype or tensor.numel() != numel for tensor in state):
        kinds = [f"{name} {row.state[name].dtype}" for name in row.rule.state]
        raise RuntimeError(
            f"state that does not fit its parameter of {numel} elements, {W.dtype}: "
            f"{', '.join(kinds)}. Load or set state of the parameter's shape and dtype"
        )
    start = 0 if row.part is None else row.part.start
    pieces = []
    longest = COLUMNS if W.device.type == "cpu" else BLOCK
    for first, (lines, length) in _matrices(numel, longest, start):
        part, size = slice(first, first + lines * length), (lines, length)
        block, element = divmod(start + first, BLOCK)
        key = parameter_words(row.group["seed"], row.index, block)
        pieces.append(
            _Piece(
                number,
                row,
                None if lines * length == numel else part,
                W[part].view(size),
                [tensor[part].view(size) for tensor in state],
                (*key, 0, element),
            )
        )
    return pieces


def _matrices(numel: int, longest: int, start: int = 0) -> list[tuple[int, tuple[int, int]]]:
    """First element and (lines, length) of the matrices that `numel` elements are cut into.

    One matrix if a good line length divides `numel`: a multiple of 16, which is a CPU's widest
    vector of float32, and not short. Otherwise the longest lines, and the rest on its own.
    None goes over the end of a block of the whole, in which the elements begin at `start`.
    """
    found, first = [], 0
    while first < numel:
        size = min(BLOCK - (start + first) % BLOCK, numel - first)
        good = range(longest, min(longest, 256) - 1, -16)
        length = next((c for c in good if size % c == 0), longest) if size > longest else size
        lines = size // length
        found.append((first, (lines, length)))
        if size % length:
            found.append((first + lines * length, (1, size % length)))
        first += size
    return found


def _batch(pieces: list[_Piece]) -> _Batch:
    lead = pieces[0]
    device = str(lead.W.device)
    kernel = fused_kernel(lead.row.rule, lead.W.dtype, device, torch.get_num_threads())
    missing = -len(pieces) % TENSORS_PER_CALL
    words = [piece.words for piece in pieces] + [(0, 0, 0, 0)] * missing
    firsts = range(0, len(pieces), TENSORS_PER_CALL)
    return _Batch(
        kernel,
        lead,
        torch.tensor(words, dtype=torch.int32, device=device).view(-1, TENSORS_PER_CALL, 4),
        [_call(kernel, pieces[first : first + TENSORS_PER_CALL]) for first in firsts],
    )


def _call(kernel: Kernel, pieces: list[_Piece]) -> _Call:
    W, states = pieces[0].W, range(len(pieces[0].state))
    # empty matrices fill the call up; weights and zeros hold the places of what is renewed
    padding = [W.new_empty(0, 0)] * (TENSORS_PER_CALL - len(pieces))
    weights = [piece.W for piece in pieces] + padding
    matrices = Matrices(
        weights,
        weights,
        W.new_zeros(TENSORS_PER_CALL, 4, dtype=torch.int32),
        W.new_zeros(SCALARS, dtype=scalar_dtype(W.dtype)),
        column_numbers(str(W.device)),
        [[piece.state[place] for piece in pieces] + padding for place in states],
    )
    gradients = [kernel.gradient(number) for number in range(len(pieces))]
    return _Call(pieces, kernel.arguments(matrices), gradients)


def _step_tensors(row: Row, t: int, W: Tensor) -> tuple[Tensor, Tensor]:
    """The step's share in the words, and its scalars, on the parameter's device.

    A learning rate that is a tensor is copied there without being read by the host.
    """
    words = torch.tensor(
        [*step_words(t - 1), threshold(row.group["keep_prob"]), 0], dtype=torch.int32
    )
    alpha, *others = scalars(row.rule, row.group, t)
    values = [0.0 if isinstance(alpha, Tensor) else alpha, *others]
    values += [0.0] * (SCALARS - len(values))
    h = torch.tensor(values, dtype=scalar_dtype(W.dtype)).to(W.device, non_blocking=True)
    if isinstance(alpha, Tensor):
        h[0] = alpha
    return words.to(W.device, non_blocking=True), h
