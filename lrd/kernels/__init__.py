"""Kernels of our own for the masked step: C for CPUs, Triton for GPUs, else the eager step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrd.kernels.build import CompilationError, kernel
from lrd.kernels.table import Span, line, spans
from lrd.rules import Rule
from lrd.shards import Part

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_MOST_OF_GPU = (1 << 31) - 2048  # elements: 32-bit integers there, to the end of the last tile
_TYPES = (Tensor, torch.nn.Parameter)
_FLAGS = ("momentum", "nesterov", "centered", "amsgrad")


@functools.cache
def rule_kernel(rule: Rule, dtype: torch.dtype, place: int = -1) -> Callable[..., Any]:
    """The kernel of a rule for weights of `dtype`; CompilationError if it cannot be built.

    `place` is the number of the GPU, -1 on a CPU.
    """
    flags = dict.fromkeys(_FLAGS, False) | dict(rule.flags)
    flags |= {"decoupled": rule.decoupled, "maximize": rule.maximize}
    named = [f"{name.upper()}={int(value)}" for name, value in flags.items()]
    return _built(
        place, f"RULE={rule.update.__name__}", f"STATES={len(rule.state)}", *named, _type(dtype)
    )


@functools.cache
def copy_kernel(name: str, dtype: torch.dtype, place: int = -1) -> Callable[..., Any]:
    """The kernel `keep_copy` or of a formula's name; CompilationError if it cannot be built."""
    return _built(place, name.upper(), _type(dtype))


def _built(place: int, *definitions: str) -> Callable[..., Any]:
    return (gpu_kernel if place >= 0 else kernel)(definitions)


def gpu_kernel(definitions: tuple[str, ...]) -> Callable[..., Any]:
    """As `build.kernel`, of Triton, which takes a second to import."""
    try:
        from lrd.kernels import gpu
    except ImportError as error:
        raise CompilationError(f"{error}", "Install triton, as torch for CUDA brings it") from error
    return gpu.kernel(definitions)


def _type(dtype: torch.dtype) -> str:
    return f"TYPE_{str(dtype).removeprefix('torch.')}"


def kernel_available(device: torch.device | str = "cpu") -> bool:
    """Whether `compile="auto"` takes a kernel on a device: where one can be built."""
    device = torch.device(device)
    if device.type == "cpu":
        place = -1
    elif device.type == "cuda" and torch.cuda.is_available():
        place = torch.cuda.current_device() if device.index is None else device.index
    else:
        return False
    try:
        copy_kernel("put_back", torch.float32, place)
    except CompilationError:
        return False
    return True


def walk(W: Tensor, part: Part | None, required: bool, unit: int = 1) -> list[Span] | None:
    """How a kernel is to walk through weights; None if that is left to the eager step.

    `unit` elements share a draw. `required` asks for a kernel: CompilationError on a device for
    which there is none.
    """
    if not (W.is_cpu or W.is_cuda):
        if required:
            raise CompilationError(f"there is none for {W.device.type}", "Use a CPU or a GPU")
        return None
    if type(W) not in _TYPES or W.dtype not in _DTYPES:
        return None  # a subclass may keep its elements anywhere
    if W.is_neg() or W._is_zerotensor():
        return None
    whole = W.shape if part is None else part.whole
    if unit > 1 and W.is_cuda and math.prod(whole) >= _MOST_OF_GPU:
        return None
    if part is None and W.is_contiguous():
        return line(W.numel(), unit)
    return spans(W.shape, W.stride(), part, unit)
