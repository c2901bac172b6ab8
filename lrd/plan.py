"""A step's tables, kept for the next: most of a step's Python finds out what has not changed.

A kernel works on addresses, so that nothing is believed: all that they follow from is compared at
every step, and whatever is otherwise ends the plan before anything is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_float
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from lrd.kernels.table import Table
from lrd.mask import (
    check_index,
    check_keep_prob,
    check_mask,
    check_seed,
    check_switch,
    parameter_words,
    step_words,
)
from lrd.rules import Group, Row, Rule, scalars

_TENSOR = {Tensor}
States = dict[Tensor, dict[str, Any]]


class Mask(NamedTuple):
    """What decides a param group's masks, as plain values."""

    keep_prob: float
    seed: int
    index_offset: int
    mask: str
    rescale: bool


def mask_of(group: Group) -> Mask:
    """A param group's own, numbers as such; ValueError for what is none or out of its range."""
    if "masked" in group:
        raise ValueError(
            '"masked" is a key of lrd.MaskedUpdate\'s param groups: give this one "keep_prob": 1.0 '
            "to have all of it updated"
        )
    return Mask(
        check_keep_prob(group["keep_prob"]),
        check_seed(group["seed"]),
        check_index(group["index_offset"], "index_offset"),
        check_mask(group["mask"]),
        check_switch("rescale", group["rescale"]),
    )


class Placed(NamedTuple):
    """A row that is a single line of a table, the one that begins at `line`."""

    row: Row
    table: Table
    line: int


class _Entry(NamedTuple):
    """What a parameter's line of a table was made of, without the tensors themselves."""

    param: int  # its id
    place: int  # in the optimizer's state
    shape: torch.Size
    count: int  # of elements, of all tensors
    stride: tuple[int, ...] | None  # None if they are contiguous
    dtype: torch.dtype
    names: tuple[str, ...]  # in the parameter's state
    addresses: list[int]  # of the parameter and these
    counted: int  # the counter's address
    updates: c_float  # and its number
    table: Table
    line: int
    words: tuple[int, int]


class Plan:
    """The tables of a step of whole tensors on a CPU, to be filled anew for each step."""

    def __init__(
        self,
        groups: Sequence[Group],
        rules: Sequence[Rule],
        states: States,
        placed: Sequence[Placed],
        runs: Sequence[Callable[[], None]],
    ) -> None:
        self._keys = [*map(id, states)]
        places = {key: place for place, key in enumerate(self._keys)}
        entries = {id(one.row.W): _entry(one, places[id(one.row.W)]) for one in placed}
        self._runs = runs
        self._groups = []
        for group, rule in zip(groups, rules, strict=True):
            of_group = [entries.get(id(param)) for param in group["params"]]
            known = [entry for entry in of_group if entry is not None]
            scaled = {(id(entry.table), entry.table.place_of(entry.line)): entry for entry in known}
            self._groups.append((rule, mask_of(group), of_group, [*scaled.values()]))

    def repeat(self, groups: Sequence[Group], rules: Sequence[Rule], states: States) -> bool:
        """Make a step if all is as it was, but for the gradients' values and places, the scalars
        and the number of updates; else change nothing, and the plan is of no use any more."""
        if len(groups) != len(self._groups) or [*map(id, states)] != self._keys:
            return False
        owns = [*states.values()]
        held = []  # all tensors until the kernels end, whoever else lets go of them
        step = word0 = word1 = None
        for group, rule, (was, mask, entries, _) in zip(groups, rules, self._groups, strict=True):
            if rule != was or mask_of(group) != mask or len(group["params"]) != len(entries):
                return False
            for param, entry in zip(group["params"], entries, strict=True):
                grad = param.grad
                if grad is None and entry is None:
                    continue
                if grad is None or entry is None:
                    return False
                tensors = _as_before(entry, param, grad, owns[entry.place])
                if tensors is None:
                    return False
                held.append(tensors)
                if step is None:
                    step = entry.updates.value
                    word0, word1 = step_words(int(step))
                elif entry.updates.value != step:
                    return False
                if not (address := grad.data_ptr()):  # zeros that have no memory
                    return False
                key0, key1 = entry.words
                entry.table.refill(entry.line, address, key0 ^ word0, key1 ^ word1)
        for group, rule, (*_, scaled) in zip(groups, rules, self._groups, strict=True):
            for entry in scaled:  # one for all of the group in its table, which share scalars
                entry.table.rescale(entry.line, scalars(rule, group, int(step) + 1))
        for run in self._runs:
            run()
        increment_version([tensors[0] for tensors in held])
        return True


def _entry(placed: Placed, place: int) -> _Entry:
    row, table, line = placed
    W, counted = row.W, row.counter.data_ptr()
    return _Entry(
        id(W),
        place,
        W.shape,
        W.numel(),
        None if W.is_contiguous() else W.stride(),
        W.dtype,
        row.rule.state,
        [tensor.data_ptr() for tensor in (W, *row.state)],
        counted,
        c_float.from_address(counted),
        table,
        line,
        parameter_words(row.draw.seed, row.draw.index),
    )


def _as_before(
    entry: _Entry, param: Tensor, grad: Tensor, own: dict[str, Any]
) -> tuple[Tensor, ...] | None:
    """All tensors of a line if parameter and state are where they were, and the gradient is like
    them; else None."""
    known, _, shape, count, stride, dtype, names, addresses, counted, *_ = entry
    counter, state = own.get("step"), [own.get(name) for name in names]
    if (
        id(param) != known
        or param.shape != shape
        or {*map(type, (grad, counter, *state))} != _TENSOR
        or counter.data_ptr() != counted
        or counter.dtype is not torch.float32
        or [tensor.data_ptr() for tensor in (param, *state)] != addresses
    ):
        return None
    tensors = param, grad, *state
    for tensor in tensors:
        if tensor.dtype is not dtype or tensor.numel() != count or tensor.is_neg():
            return None
        if stride is None:
            if not tensor.is_contiguous():
                return None
        elif tensor.shape != shape or tensor.stride() != stride:
            return None
    return *tensors, counter
