"""What parameters were before a step, for those that a mask drops to be put back."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lrd.kernels import Span, Table, copy_kernel, fits, line, walk
from lrd.mask import Draw
from lrd.shards import local, local_mask, part_of
from lrd.step import Compile

_NO_DRAW = Draw(0, 0, 0, 0)


class Copies:
    """Copies of parameters, in memory that is kept: getting it anew costs more than copying."""

    def __init__(self) -> None:
        self._copies: dict[Tensor, Tensor] = {}

    def keep(self, params: Iterable[Tensor], compile: Compile) -> None:
        """Copy `params`, and forget all others; CompilationError where a kernel is missing."""
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
                    copy_kernel("PUT_BACK", *kind)  # what it cannot mask must not be updated
                    table = tables[kind] = Table(kind[1])
                table.add((W, copy), line(W.numel()), _NO_DRAW)
            else:
                rest.append((copy, W))
        for kind, table in tables.items():
            table.run(copy_kernel("KEEP_COPY", *kind))
        for copy, W in rest:
            copy.copy_(W)

    def put_back(self, draws: Iterable[tuple[Tensor, Draw]], compile: Compile) -> None:
        """Make what the masks of parameters drop what it was when they were copied."""
        tables: dict[tuple[torch.dtype, int], Table] = {}
        for param, draw in draws:
            W, copy, part = local(param), self._copies[param], part_of(param)
            layout: list[Span] | None = walk(W, part, False) if compile else None
            if layout and fits(W, copy):
                kind = W.dtype, W.get_device()
                table = tables.get(kind)
                if table is None:
                    table = tables[kind] = Table(kind[1])
                table.add((W, copy), layout, draw)
            else:
                torch.where(local_mask(W, part, draw), W, copy, out=W)
        for kind, table in tables.items():
            table.run(copy_kernel("PUT_BACK", *kind))

    def restore(self) -> None:
        """Make all parameters what they were when they were copied."""
        for param, copy in self._copies.items():
            local(param).copy_(copy)
