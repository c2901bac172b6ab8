"""What parameters were before a step, for a rule to change what the step did to them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lrd import family
from lrd.family import Update
from lrd.kernels import copy_kernel, walk
from lrd.kernels.table import Span, Table, fits, line
from lrd.mask import Draw
from lrd.shards import local, local_mask
from lrd.step import Compile


class Copies:
    """Copies of parameters, in memory that is kept: getting it anew costs more than copying."""

    def __init__(self) -> None:
        self._copies: dict[Tensor, Tensor] = {}

    def __getitem__(self, param: Tensor) -> Tensor:
        return self._copies[param]

    def keep(self, params: Iterable[Tensor], compile: Compile, kernels: Iterable[str]) -> None:
        """Copy `params`, and forget all others.

        CompilationError where a kernel is missing, and those that are named: what cannot be changed
        afterwards must not be updated.
        """
        old, self._copies = self._copies, {}
        tables: dict[tuple[torch.dtype, int], Table] = {}
        rest: list[tuple[Tensor, Tensor]] = []
        for param in params:
            W, copy = local(param), old.get(param)
            if copy is None or copy.shape != W.shape or not fits(W, copy):
                copy = torch.empty_like(W, requires_grad=False)
            self._copies[param] = copy
            if compile and walk(W, None, compile is True) and fits(W, copy):
                kind = W.dtype, W.get_device()
                table = tables.get(kind)
                if table is None:
                    for name in kernels:
                        copy_kernel(name, *kind)
                    table = tables[kind] = Table(kind[1])
                table.add((W, copy), line(W.numel()))
            else:
                rest.append((copy, W))
        for kind, table in tables.items():
            table.run(copy_kernel("keep_copy", *kind))
        for copy, W in rest:
            copy.copy_(W)

    def restore(self) -> None:
        """Make all parameters what they were when they were copied."""
        for param, copy in self._copies.items():
            local(param).copy_(copy)


Change = tuple[Update, str, Draw, tuple[float, ...]]  # with the formula's name, draw and scalars


def change(changes: Iterable[Change]) -> None:
    """Put what formulas make of updates in their place."""
    tables: dict[tuple[str, torch.dtype, int], Table] = {}
    seen = set()  # memory that stands twice is changed once after the other
    for update, formula, draw, h in changes:
        W, tensors = update.W, [update.old]
        if formula == "cautious":
            tensors.append(update.G)
        layout: list[Span] | None = None
        if update.compile:
            layout = walk(W, update.part, False, draw.unit)
        if not layout or not fits(W, *tensors) or W.data_ptr() in seen:
            _change(update, formula, draw, h)
            continue
        seen.add(W.data_ptr())
        kind = formula, W.dtype, W.get_device()
        table = tables.get(kind)
        if table is None:
            table = tables[kind] = Table(kind[2])
        table.add((W, *tensors), layout, draw, h)
    for kind, table in tables.items():
        table.run(copy_kernel(*kind))


def _change(update: Update, formula: str, draw: Draw, h: tuple[float, ...]) -> None:
    """The reference: a formula for one parameter, operation by operation."""
    W, drawn = update.W, None
    tensors = [W, update.old, W if update.G is None else update.G]
    if formula in ("put_back", "scaled", "noisy"):
        drawn = local_mask(W, update.part, draw)
    if formula == "put_back":  # Bernoulli's: what is kept, or else what was there
        torch.where(drawn, W, update.old, out=W)
        return
    if W.dtype in (torch.bfloat16, torch.float16):
        tensors = [tensor.float() for tensor in tensors]
    W.copy_(getattr(family, formula)(*tensors, h, drawn))
