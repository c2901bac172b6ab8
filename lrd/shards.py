"""Parameters of which this process holds a part: DTensors, as FSDP2's fully_shard makes them.

The mask goes by an element's place in the whole parameter, so a part's mask is worked out where
the part is, whatever the number of processes and the dimension along which they share it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.mask import BLOCK, Draw, chunk_of, flat_mask, keep_into, parameter_words, step_words

_ZERO_REDUNDANCY = "torch.distributed.optim.zero_redundancy_optimizer"


class Part(NamedTuple):
    """A box of a whole tensor: the shape of that, and for each dimension where the box begins and
    how long it is."""

    whole: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.size)

    @property
    def start(self) -> int | None:
        """The flat index of the first element if the others follow it one by one, else None."""
        if self.numel == 0:
            return 0
        long = [number for number, size in enumerate(self.size) if size > 1]
        following = slice(long[0] + 1, None) if long else slice(0, 0)
        return self.element(0) if self.size[following] == self.whole[following] else None

    def element(self, number: Any) -> Any:
        """The flat index in the whole tensor of this box's element `number`, or of a tensor's."""
        flat, stride = 0, 1
        for whole, offset, size in zip(*(reversed(sizes) for sizes in self), strict=True):
            flat = flat + (number % size + offset) * stride
            number, stride = number // size, stride * whole
        return flat


def _is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor, whose module takes a second to import: if it is there at all."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, as a view; without gradients."""
    return tensor.to_local() if _is_sharded(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, of which this process may hold a part; all processes must ask for it."""
    return tensor.full_tensor() if _is_sharded(tensor) else tensor


def total(param: Tensor, sums: Tensor) -> Tensor:
    """The sum, over the processes that hold parts of a parameter, of each one's `sums`."""
    if not _is_sharded(param):
        return sums
    from torch.distributed.tensor import DTensor, Partial, Replicate

    placements = [p if type(p) is Replicate else Partial() for p in param.placements]
    return DTensor.from_local(sums, param.device_mesh, placements).full_tensor()


def local_gradient(param: Tensor, grad: Tensor) -> Tensor:
    """The gradient of what this process holds of a parameter that is a DTensor."""
    if not _is_sharded(grad):
        raise RuntimeError(
            "the gradient of a parameter that is a DTensor must be one too, got a plain tensor of "
            f"shape {tuple(grad.shape)}"
        )
    return grad.redistribute(placements=param.placements).to_local()


def check_whole(param: Tensor) -> None:
    """RuntimeError for a parameter of FSDP1: the index of an element is lost in its flat one."""
    if getattr(param, "_fsdp_flattened", False):
        raise RuntimeError(
            "FullyShardedDataParallel flattens parameters, which would change their masks: shard "
            "with torch.distributed.fsdp.fully_shard, under which they are those of one process"
        )


def refuse_partitions() -> None:
    """RuntimeError where ZeroRedundancyOptimizer makes an optimizer of one process's parameters.

    Nothing that it hands over says so, or which of all parameters they are: its caller is looked
    at.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == _ZERO_REDUNDANCY:
            raise RuntimeError(
                "ZeroRedundancyOptimizer gives each process an optimizer of some parameters, whose "
                "masks would be others: wrap it in lrd.LearningRateDropout, or shard with "
                "torch.distributed.fsdp.fully_shard"
            )
        frame = frame.f_back


def part_of(param: Tensor) -> Part | None:
    """The part of a DTensor that this process holds; None for other tensors, which are whole.

    Raises RuntimeError for placements other than Shard and Replicate, and uneven ones of one's own.
    """
    if not _is_sharded(param):
        return None
    part = _part(tuple(param.shape), param.device_mesh, tuple(param.placements))
    if part.size != tuple(param.to_local().shape):
        raise RuntimeError(
            f"a process holds {tuple(param.to_local().shape)} of a parameter of shape "
            f"{tuple(param.shape)} placed as {param.placements}, where {part.size} were expected: "
            "shard it as fully_shard and distribute_tensor do"
        )
    return part


@functools.cache
def _part(whole: tuple[int, ...], mesh: Any, placements: Sequence[Any]) -> Part:
    """By torch.chunk's rule, which DTensor follows: later processes may have less, or nothing."""
    from torch.distributed.tensor import Replicate, Shard

    coordinate, offset, size = mesh.get_coordinate(), [0] * len(whole), list(whole)
    if coordinate is None:
        raise RuntimeError(f"this process has no place in the mesh of a parameter: {mesh}")
    for count, place, placement in zip(mesh.shape, coordinate, placements, strict=True):
        if type(placement) is Replicate:
            continue
        if type(placement) is not Shard:
            raise RuntimeError(
                f"lrd masks parameters that are placed by Shard and Replicate, got {placement} in "
                f"{placements} for one of shape {whole}: shard it along one dimension a time, "
                "not the same one by FSDP and tensor parallelism"
            )
        dim = placement.dim
        chunk = -(-size[dim] // count)
        start = min(chunk * place, size[dim])
        offset[dim], size[dim] = offset[dim] + start, min(chunk, size[dim] - start)
    return Part(whole, tuple(offset), tuple(size))


def local_mask(W: Tensor, part: Part | None, draw: Draw) -> Tensor:
    """The mask of a parameter, or of what `W` is of one, in the shape of `W`."""
    if part is None:
        return flat_mask(W.numel(), draw, W.device).view(W.shape)
    return _mask_of(part, draw, W.device).view(W.shape)


def _mask_of(part: Part, draw: Draw, device: torch.device) -> Tensor:
    """The flat mask of a box."""
    dtype = torch.int32 if draw.limit is None else torch.bool
    mask = torch.empty(part.numel, dtype=dtype, device=device)
    step0, step1 = step_words(draw.step)
    start, chunk = part.start, chunk_of(device)
    for low in range(0, part.numel, chunk):
        high = min(low + chunk, part.numel)
        number = torch.arange(low, high, device=device)
        element = part.element(number) if start is None else number + start
        element = element // draw.unit if draw.unit > 1 else element
        piece = mask[low:high]
        first, last = (part.element(end) // draw.unit for end in (low, high - 1))
        # what is of a later block is written anew in its turn
        for block in range(first // BLOCK, last // BLOCK + 1):
            word0, word1 = parameter_words(draw.seed, draw.index, block)
            D = torch.empty_like(piece)
            within = (element - block * BLOCK).int()
            keep_into(D, within, word0 ^ step0, word1 ^ step1, draw.limit)
            torch.where(element < block * BLOCK, piece, D, out=piece)
    return mask
