"""Kernels of our own for the masked step: C for CPUs, the eager step elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrd.kernels.build import CompilationError, kernel
from lrd.kernels.table import Span, Table, fits, line, spans
from lrd.rules import Rule
from lrd.shards import Part

__all__ = [
    "CompilationError",
    "Span",
    "Table",
    "copy_kernel",
    "fits",
    "kernel_available",
    "line",
    "rule_kernel",
    "walk",
]

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_TYPES = (Tensor, torch.nn.Parameter)
_FLAGS = ("momentum", "nesterov", "centered", "amsgrad")


@functools.cache
def rule_kernel(rule: Rule, dtype: torch.dtype) -> Callable[..., Any]:
    """The kernel of a rule for weights of `dtype`; CompilationError if it cannot be built."""
    flags = dict.fromkeys(_FLAGS, False) | dict(rule.flags)
    flags |= {"decoupled": rule.decoupled, "maximize": rule.maximize}
    named = [f"{name.upper()}={int(value)}" for name, value in flags.items()]
    return kernel(
        (f"RULE={rule.update.__name__}", f"STATES={len(rule.state)}", *named, _type(dtype))
    )


@functools.cache
def copy_kernel(name: str, dtype: torch.dtype) -> Callable[..., Any]:
    """The kernel `keep_copy` or of a formula's name; CompilationError if it cannot be built."""
    return kernel((name.upper(), _type(dtype)))


def _type(dtype: torch.dtype) -> str:
    return f"TYPE_{str(dtype).removeprefix('torch.')}"


def kernel_available(device: torch.device | str = "cpu") -> bool:
    """Whether `compile="auto"` takes a kernel on a device: on CPUs where one can be built."""
    if torch.device(device).type != "cpu":
        return False
    try:
        copy_kernel("put_back", torch.float32)
    except CompilationError:
        return False
    return True


def walk(W: Tensor, part: Part | None, required: bool, unit: int = 1) -> list[Span] | None:
    """How a kernel is to walk through weights on a CPU; None if that is left to the eager step.

    `unit` elements share a draw.

    `required` asks for a kernel: CompilationError on a device for which there is none.
    """
    if not W.is_cpu:
        if required:
            raise CompilationError(f"there is none for {W.device.type} yet")
        return None
    if type(W) not in _TYPES or W.dtype not in _DTYPES:
        return None  # a subclass may keep its elements anywhere
    if part is None and W.is_contiguous():
        return line(W.numel(), unit)
    return spans(W.shape, W.stride(), part, unit)
