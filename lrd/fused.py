"""The fused step: one compiled pass that reads each tensor once and makes the mask in registers.

A `Plan` cuts parameters into the matrices that the kernel wants and calls it on a handful at a
time. Kernels check nothing: the plan prepares arguments of exactly the compiled kind.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from lrd.rules import Group, Row, Rule, check_gradient, scalars
from lrd.shards import local


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

    arguments: list[Any]  # of which gradients, words and h are renewed at each step
    gradients: list[tuple[int, int, slice | None]]  # their places, rows, and parts of these


class _Batch(NamedTuple):
    """The calls for pieces that share param group, step, dtype and device."""

    kernel: Kernel
    lead: _Piece
    words: Tensor  # (calls, TENSORS_PER_CALL, 4), the parameters' share
    calls: list[_Call]


class Plan:
    """The calls that make up a fused step, with views of all that stays between steps.

    Made once and used for as long as a step is over the same tensors (`fits`). Step counters
    become views of one tensor. `rest` are the rows that are left to the caller: the mask goes by
    the element's index and the kernel by memory, and in another layout (channels-last weights, or
    a part cut out of a parameter along an inner dimension) the two differ.
    """

    def __init__(
        self, groups: list[Group], rules: list[Rule], states: Iterable[Any], rows: list[Row]
    ) -> None:
        self.rest = [row for row in rows if not _in_line(row)]
        self._rows = [row for row in rows if _in_line(row)]
        self._counts = [float(row.state["step"]) for row in self._rows]
        self._steps = torch.tensor(self._counts)
        for row, step in zip(self._rows, self._steps, strict=True):
            row.state["step"] = step
        self._own_states = [row.state for row in rows]
        self._whole, self._shared = [], []  # tensors whose address must stay, by what tells it
        for row in rows:
            tensors = [row.param, *(row.state[name] for name in row.rule.state)]
            (self._whole if row.part is None else self._shared).extend(tensors)
        self._objects = self._objects_of(groups, rules, states)
        self._numbers = self._numbers_of(groups)

        def kind(numbered: tuple[int, Row]) -> tuple[Any, ...]:
            number, row = numbered
            W = row.W
            return row.group_index, str(W.device), str(W.dtype), self._counts[number]

        # in descending size, so that a call's tensors are alike
        numbered = sorted(enumerate(self._rows), key=lambda pair: -pair[1].W.numel())
        self._batches = []
        for _, alike in groupby(sorted(numbered, key=kind), key=kind):
            pieces = [piece for number, row in alike for piece in _pieces(number, row)]
            if pieces:  # a parameter may be empty
                self._batches.append(_batch(pieces))

    def fits(self, groups: list[Group], rules: list[Rule], states: Iterable[Any]) -> bool:
        """Whether a step would be over the tensors that the plan was made for, as it left them."""
        objects = self._objects_of(groups, rules, states)
        return (
            len(objects) == len(self._objects)
            and all(map(is_, objects, self._objects))
            and self._numbers_of(groups) == self._numbers
            and self._steps.tolist() == self._counts
        )

    def _objects_of(
        self, groups: list[Group], rules: list[Rule], states: Iterable[Any]
    ) -> list[Any]:
        """What must be the same objects: parameters, whether they lack a gradient, and state."""
        params = [param for group in groups for param in group["params"]]
        lacking = [param.grad is None for param in params]
        own = chain.from_iterable(state.values() for state in self._own_states)
        return [*params, *lacking, *groups, *rules, *states, *own]

    def _numbers_of(self, groups: list[Group]) -> list[int]:
        """And what must be the same numbers: seeds, lengths of groups, and addresses."""
        numbers = [group["seed"] for group in groups] + [len(group["params"]) for group in groups]
        numbers += [tensor.data_ptr() for tensor in self._whole]
        return numbers + [local(tensor).data_ptr() for tensor in self._shared]

    def step(self) -> None:
        """Update every parameter of the plan but `rest`.

        Python's work for all calls comes before the first: kernels drive out of the cache what it
        needs, and each call would wait for memory anew.
        """
        gradients = [_gradient(row) for row in self._rows]
        self._steps += 1
        self._counts = [count + 1 for count in self._counts]
        prepared = []
        for kernel, lead, words, calls in self._batches:
            step_share, h = _step_tensors(lead.row, int(self._counts[lead.number]), lead.W)
            words_place, h_place = kernel.words, kernel.h
            for call, share in zip(calls, (words ^ step_share).unbind(), strict=True):
                arguments = call.arguments.copy()
                arguments[words_place], arguments[h_place] = share, h
                for place, number, part in call.gradients:
                    grad = gradients[number]
                    arguments[place] = grad if part is None else grad.view(-1)[part]
                prepared.append((kernel.function, arguments))
        for function, arguments in prepared:
            function(*arguments)


def _in_line(row: Row) -> bool:
    """Whether the elements lie in memory in the order of their indices, without a gap in these."""
    if row.part is None:
        return row.param.is_contiguous()
    return row.part.start is not None and row.W.is_contiguous()


def _gradient(row: Row) -> Tensor:
    """The gradient, of the dtype and the layout that the kernel takes for granted.

    In the parameter's own shape: the kernel goes by the sizes that it is handed.
    """
    grad = row.param.grad if row.part is None else row.G
    check_gradient(grad)
    if grad.dtype != row.param.dtype:
        grad = grad.to(row.param.dtype)
    return grad if grad.is_contiguous() else grad.contiguous()


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
    gradients = [
        (kernel.gradient(place), piece.number, piece.part) for place, piece in enumerate(pieces)
    ]
    return _Call(kernel.arguments(matrices), gradients)


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
