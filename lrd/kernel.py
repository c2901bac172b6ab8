"""The fused kernel: `masked_step` over a handful of tensors, compiled into one pass.

It is compiled once for a rule, dtype, device and thread count, serves every model, and is handed
all that changes as arguments: sizes as integers; learning rate, keep probability, keys and bias
corrections in tensors. So nothing causes a recompilation, and nothing is checked at a call.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.mask import kept
from lrd.rules import Rule, masked_step

TENSORS_PER_CALL = 4  # more: fewer calls a step; fewer: a shorter compilation
COLUMNS = 4096  # longest line of a matrix on a CPU: its element indices stay in the L1 cache
SCALARS = 8  # α, λ and what the rules add, padded to one length

_OPTIONS = {
    "size_asserts": False,
    "cpp.vec_isa_ok": True,  # trusts the CPU's word for its vectors: three trial compilations less
}


class CompilationError(RuntimeError):
    """torch.compile could not build the fused step, most often for want of a C++ compiler."""


class Matrices(NamedTuple):
    """What one call works on: TENSORS_PER_CALL matrices (lines, columns) of each kind.

    `words` (TENSORS_PER_CALL, 4): two key words, the mask's limit, the first element's index.
    """

    W: list[Tensor]
    G: list[Tensor]
    words: Tensor
    h: Tensor
    columns: Tensor | None
    state: list[list[Tensor]]

    def values(self) -> list[Any]:
        """The tensors in the order of the fields, then each matrix's sizes."""
        tensors = [*self.W, *self.G, self.words, self.h, self.columns]
        for each in self.state:
            tensors += each
        return tensors + [size for W in self.W for size in (*W.shape, W.stride(0))]


class Kernel(NamedTuple):
    """A compiled kernel, and what its compiler wants as arguments."""

    function: Callable[..., Any]
    order: list[int | None]  # of each argument, its place in Matrices.values()
    constants: list[int | None]  # the arguments that have none: sizes that never change

    def arguments(self, matrices: Matrices) -> list[Any]:
        """The arguments of a call; `gradient`, `words` and `h` tell the places of those."""
        values = matrices.values()
        return [
            constant if place is None else values[place]
            for place, constant in zip(self.order, self.constants, strict=True)
        ]

    def gradient(self, number: int) -> int:
        """The place of a matrix's gradient in the arguments."""
        return self.order.index(TENSORS_PER_CALL + number)

    @property
    def words(self) -> int:
        return self.order.index(2 * TENSORS_PER_CALL)

    @property
    def h(self) -> int:
        return self.order.index(2 * TENSORS_PER_CALL + 1)


@functools.cache
def fused_kernel(rule: Rule, dtype: torch.dtype, device: str, threads: int) -> Kernel:
    """Compile `masked_step` of one rule for `TENSORS_PER_CALL` matrices of any sizes.

    `threads` keys the cache: torch bakes their number into CPU kernels. torch.compile traces and
    compiles; its callable is then left aside for the compiled function inside, which takes the
    sizes as integers instead of asking every tensor for them, and so costs half as much to call.
    """

    def kernel(W, G, words, h, columns, state):
        for row in range(TENSORS_PER_CALL):
            lines, length = W[row].shape
            line = torch.arange(lines, dtype=torch.int32, device=device)[:, None] * length
            column = (
                torch.arange(length, dtype=torch.int32, device=device)
                if columns is None
                else columns[:length]
            )
            element = line + words[row, 3] + column
            D = kept(element, words[row, 0], words[row, 1], words[row, 2])
            old = tuple(each[row] for each in state)
            new_W, new_state = masked_step(rule, W[row], G[row], old, h, D)
            W[row].copy_(new_W)
            for tensor, new in zip(old, new_state, strict=True):
                tensor.copy_(new)

    built: list[tuple[Callable[..., Any], list[Any]]] = []

    def build(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        function = torch._inductor.compile(graph, inputs, options=_OPTIONS)

        def first_call(*arguments: Any) -> Any:
            built.append((function, list(arguments)))
            return function(*arguments)

        return first_call

    # torch.compile keeps its results on the code object: one code object for each variant
    code = kernel.__code__.replace(co_name=f"lrd_{rule.update.__name__}")
    kernel = types.FunctionType(code, kernel.__globals__, code.co_name, None, kernel.__closure__)
    matrices = _example(len(rule.state), dtype, device)
    try:
        torch.compile(kernel, fullgraph=True, dynamic=True, backend=build)(*matrices)
    except Exception as error:  # compilers raise many kinds of exception; the cause is kept
        reason = (str(error).strip() or "no message").splitlines()[0]
        raise CompilationError(
            f"torch.compile failed on the fused LRD step ({type(error).__name__}: {reason}). "
            "Install a C++ compiler such as g++ and Python's headers, or pass compile=False for "
            "the eager step"
        ) from error
    function, arguments = built[0]
    # sizes are told by their values, which all differ, and tensors by identity
    places = {_name(value): place for place, value in enumerate(matrices.values())}
    order = [places.get(_name(argument)) for argument in arguments]
    constants = [argument if isinstance(argument, int) else None for argument in arguments]
    return Kernel(function, order, constants)


def _name(value: Any) -> int:
    return value if isinstance(value, int) else ~id(value)


def _example(states: int, dtype: torch.dtype, device: str) -> Matrices:
    """Matrices to trace with.

    Sizes all differ: the compiler takes equal ones to be equal for ever. And there are gaps
    between lines, or it would merge the lines where a result does not meet `columns` (momentum
    does not), which parts the one pass into two.
    """
    sizes = [(64 + row, 1024 + 16 * row) for row in range(TENSORS_PER_CALL)]
    W, G, *state = (
        [torch.zeros(n, m + 1000, dtype=dtype, device=device)[:, :m] for n, m in sizes]
        for _ in range(2 + states)
    )
    words = torch.zeros(TENSORS_PER_CALL, 4, dtype=torch.int32, device=device)
    h = torch.zeros(SCALARS, dtype=scalar_dtype(dtype), device=device)
    return Matrices(W, G, words, h, column_numbers(device), state)


@functools.cache
def column_numbers(device: str) -> Tensor | None:
    """0, 1, 2, … for CPUs, whose compiler builds arange from scalars at each vector."""
    return torch.arange(COLUMNS, dtype=torch.int32) if device == "cpu" else None


def scalar_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of `h` for parameters of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32
