"""The tables that step.c reads: the tensors of a step, the keys of their masks, and the scalars."""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.kernels.build import parallel
from lrd.mask import BLOCK, Draw, parameter_words, step_words
from lrd.shards import Part

_CHUNK = 1 << 15  # elements below which threads are not worth waking
_TENSORS = 5  # addresses in a row of the table: weights, gradient and up to three of the state
_SCALARS = 8
ROW = _TENSORS + 9
_KEY, _PLACE = _TENSORS + 2, _TENSORS + 6  # in a row: of the key's two words, of its scalars' place
_NO_DRAW = Draw(limit=0, seed=0, index=0, step=0)  # of kernels that mask nothing


class Table:
    """What one call of a kernel works on. It holds addresses: the caller keeps the tensors.

    `place` is the number of the tensors' GPU, -1 on a CPU.
    """

    def __init__(self, place: int) -> None:
        self.place = place
        self.rows, self.scalars, self.layouts = array("q"), array("d"), array("q")
        self.counters: list[Tensor] = []  # which are on the CPU, where a GPU's kernel cannot count
        self._places: dict[tuple[int, ...], int] = {}
        self._h: Sequence[Any] | None = None
        self._last = 0  # place of the last scalars
        self._elements = 0

    def add(
        self,
        tensors: Sequence[Tensor],
        spans: Sequence[Span],
        draw: Draw = _NO_DRAW,
        h: Sequence[Any] = (),
        counter: Tensor | None = None,
    ) -> None:
        """Add weights, gradient and state, all of the layout that `spans` is of.

        The kernel counts an update in `counter`, a float32.
        """
        if h is not self._h:  # most tensors share their scalars with the one before
            self._h = h
            self.scalars.extend([float(value) for value in h])
            self.scalars.extend([0.0] * (_SCALARS - len(h)))
            self._last = len(self.scalars) // _SCALARS - 1
        counted = 0
        if counter is not None and self.place < 0:
            counted = counter.data_ptr()
        elif counter is not None:
            self.counters.append(counter)
        step0, step1 = step_words(draw.step)
        for begin, count, block, first, layout in spans:
            addresses = [tensor.data_ptr() + begin * tensor.element_size() for tensor in tensors]
            addresses += [0] * (_TENSORS - len(tensors))
            word0, word1 = parameter_words(draw.seed, draw.index, block)
            place = self._places.get(layout)
            if place is None:
                place = self._places[layout] = len(self.layouts)
                self.layouts.extend(layout)
            keys = (word0 ^ step0, word1 ^ step1, draw.limit or 0, draw.unit)
            self.rows.extend((*addresses, count, first, *keys, self._last, place, counted))
            self._elements += count
            counted = 0  # once, however many spans

    def refill(self, line: int, gradient: int, word0: int, word1: int) -> None:
        """Give the row that begins at `line` another gradient's address and key."""
        self.rows[line + 1] = gradient
        self.rows[line + _KEY], self.rows[line + _KEY + 1] = word0, word1

    def place_of(self, line: int) -> int:
        """Where the scalars of the row that begins at `line` are; rows may share them."""
        return self.rows[line + _PLACE]

    def rescale(self, line: int, h: Sequence[Any]) -> None:
        """Give the rows that share scalars with the one that begins at `line` other scalars."""
        begin = self.place_of(line) * _SCALARS
        self.scalars[begin : begin + len(h)] = array("d", [float(value) for value in h])

    def run(self, kernel: Callable[..., None]) -> None:
        """Let a kernel work on all that was added, on a CPU on as many threads as torch uses."""
        if self.place >= 0:
            kernel(self)
            return
        threads = torch.get_num_threads() if self._elements > _CHUNK else 1
        rows, scalars, layouts = (
            numbers.buffer_info()[0] for numbers in (self.rows, self.scalars, self.layouts)
        )
        kernel(rows, len(self.rows) // ROW, scalars, layouts, threads, parallel())


class Span(NamedTuple):
    """A piece of a tensor's memory within one block of the whole tensor."""

    begin: int  # where in the tensor's memory, in elements
    count: int
    block: int  # of draws
    first: int  # the index, in its block, of the element at `begin`
    layout: tuple[int, ...]  # length and stride of a line, number of pairs (size, stride), pairs


_IN_LINE = (1 << 62, 1, 0)  # indices follow memory: one line


@functools.lru_cache(maxsize=1 << 14)
def spans(
    shape: tuple[int, ...], strides: tuple[int, ...], part: Part | None = None, unit: int = 1
) -> list[Span] | None:
    """How the elements of a tensor, which may be a part of a whole, lie in memory.

    None for what a kernel cannot walk: memory with gaps or shared by elements, and wholes of more
    than a block of draws, each of which decides on `unit` elements, whose indices do not follow
    memory or that share draws.
    """
    whole, offset = (shape, (0,) * len(shape)) if part is None else (part.whole, part.offset)
    steps = [math.prod(whole[dim + 1 :]) for dim in range(len(whole))]
    first = sum(place * step for place, step in zip(offset, steps, strict=True))
    dims = sorted(
        (stride, size, step)
        for stride, size, step in zip(strides, shape, steps, strict=True)
        if size != 1
    )
    dense, lines = 1, []  # (size, stride of the index), those merged that follow each other
    for stride, size, step in dims:
        if stride != dense:
            return None
        dense *= size
        if lines and step == lines[-1][0] * lines[-1][1]:
            lines[-1] = (lines[-1][0] * size, lines[-1][1])
        else:
            lines.append((size, step))
    in_line = len(lines) <= 1 and all(step == 1 for _, step in lines)
    if in_line and unit == 1:
        return _blocks(first, dense)
    if math.prod(whole) > BLOCK * unit:
        return None
    if in_line:
        return [Span(0, dense, 0, first, _IN_LINE)] if dense else []
    (length, stride), *outer = lines
    return [Span(0, dense, 0, first, (length, stride, len(outer), *sum(outer, ())))]


def _blocks(first: int, count: int) -> list[Span]:
    """Cut `count` elements in line, the first of index `first`, where blocks end."""
    pieces, begin = [], 0
    while begin < count:
        block, element = divmod(first + begin, BLOCK)
        size = min(BLOCK - element, count - begin)
        pieces.append(Span(begin, size, block, element, _IN_LINE))
        begin += size
    return pieces


@functools.lru_cache(maxsize=1 << 14)
def line(count: int, unit: int = 1) -> list[Span] | None:
    """The spans of `count` elements whose indices follow memory."""
    return spans((count,), (1,), None, unit)


def fits(W: Tensor, *tensors: Tensor) -> bool:
    """Whether tensors have the dtype and device of `W`, and their elements its order."""
    dtype, count, place, in_line = W.dtype, W.numel(), W.get_device(), W.is_contiguous()
    for tensor in tensors:
        if tensor.dtype is not dtype or tensor.numel() != count or tensor.get_device() != place:
            return False
        if tensor.is_neg() or tensor._is_zerotensor():
            return False
        if in_line and tensor.is_contiguous():
            continue
        if tensor.shape != W.shape or tensor.stride() != W.stride():
            return False
    return True
