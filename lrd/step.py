"""A step's work: the rows of all parameters, and Algorithm 1 for them by kernels or eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from lrd.kernels import rule_kernel, walk
from lrd.kernels.table import Table, fits
from lrd.mask import Draw, threshold, unit_of
from lrd.plan import Placed, mask_of
from lrd.rules import Group, Row, Rule, check_gradient, masked_step, scalars, sgdm
from lrd.shards import local, local_gradient, local_mask, part_of, whole

Compile = bool | Literal["auto"]


def check_compile(compile: Compile) -> Compile:
    """Return `compile`; ValueError unless it is True, False or "auto"."""
    if not (isinstance(compile, bool) or compile == "auto"):
        raise ValueError(f"compile must be True, False or 'auto', got {compile!r}")
    return compile


def only_makes_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether this is the step by which checkpoint libraries have a new optimizer make its state.

    All learning rates and gradients are 0. It is not counted, or saving would shift the masks.
    """
    groups = optimizer.param_groups
    rates = [group.get("lr") for group in groups]  # some optimizers work theirs out at the step
    if optimizer.state or any(rate is None or float(rate) != 0 for rate in rates):
        return False
    gradients = [param.grad for group in groups for param in group["params"]]
    sums = [grad.detach().abs().sum() for grad in gradients if grad is not None]
    return all(float(whole(total)) == 0 for total in sums)


def refuse_capture() -> None:
    """RuntimeError inside a CUDA graph's capture: each replay would draw the mask of one step."""
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "a CUDA graph would replay the mask of the step that it captured: capture forward and "
            "backward, and step outside of the graph"
        )


def rows_of(
    groups: Iterable[Group], rules: Iterable[Rule], states: dict[Tensor, dict[str, Any]]
) -> Iterator[Row]:
    """The parameters that have a gradient, with their state, made where it is missing."""
    index = 0
    for group, rule in zip(groups, rules, strict=True):
        keep_prob, seed, offset, mask, _ = mask_of(group)
        limit = threshold(keep_prob)
        shared: dict[int, list[Any]] = {}  # scalars by step: most parameters have had as many
        for place, param in enumerate(group["params"], offset + index):
            grad = param.grad
            if grad is None:
                continue
            check_gradient(grad)
            part = None if type(param) is torch.nn.Parameter else part_of(param)
            own = states.setdefault(param, {})
            # torch does not dampen the first step of a momentum, whenever it is turned on
            anew = rule.update is sgdm and rule.state and own.get(rule.state[0]) is None
            state = _complete(own, param, rule)
            step = own["step"].item()
            t = 1 if anew else int(step) + 1
            h = shared.get(t)
            if h is None:
                h = shared[t] = scalars(rule, group, t)
            W = param
            if part is not None:
                W, grad = local(param), local_gradient(param, grad)
                state = [local(tensor) for tensor in state]
            draw = Draw(limit, seed, place, int(step), unit_of(mask, param.shape))
            yield Row(W, grad, state, own["step"], rule, part, draw, h)
        index += len(group["params"])


def _complete(own: dict[str, Any], param: Tensor, rule: Rule) -> list[Tensor]:
    """The state tensors of the rule, made where they are missing, as is the counter.

    A counter of another type becomes float32.
    """
    state = [own.get(name) for name in rule.state]
    count = own.get("step")
    if count is None:
        # SGD's checkpoint from torch has momentum and no step: it is not the first step any more
        begun = any(tensor is not None for tensor in state)
        own["step"] = counter(1.0 if begun else 0.0)
    elif not isinstance(count, Tensor) or count.dtype is not torch.float32 or not count.is_cpu:
        own["step"] = counter(count)
    for place, name in enumerate(rule.state):
        if state[place] is None:
            state[place] = torch.zeros_like(param, memory_format=torch.preserve_format)
            own[name] = state[place]
    return state


def counter(updates: float | Tensor) -> Tensor:
    """A counter of updates on the CPU: half precision would stand still at 256 or 2,048."""
    return torch.tensor(float(updates), dtype=torch.float32, device="cpu")


def update(rows: list[Row], compile: Compile) -> tuple[list[Placed], list[Callable[[], None]]]:
    """Algorithm 1 for all rows; kernels are built before the first is changed.

    Returns what a plan is made of, where each row is a whole parameter and a line of a CPU's table
    and all have had as many updates: the lines, and the calls of the kernels. Raises
    CompilationError where there is no kernel, if `compile` asks for it or cannot know.
    """
    tables: dict[tuple[Rule, torch.dtype, int], Table] = {}
    rule = dtype = place = table = None
    eager, gradients, seen, placed, changed = [], [], set(), [], []
    for row in rows:
        W, G = row.W, row.G
        spans = walk(W, row.part, compile is True, row.draw.unit) if compile else None
        # memory that stands twice in the groups, as torch lets it, is updated once after the other
        if not spans or W.data_ptr() in seen:
            eager.append(row)
            continue
        # a gradient that is still under way is of another type
        if type(G) is not Tensor or not fits(W, G, *row.state):
            if not fits(W, *row.state):
                eager.append(row)
                continue
            G = torch.empty_like(W).copy_(G)
            gradients.append(G)  # the table holds its address alone
        seen.add(W.data_ptr())
        changed.append(W)
        # most rows are of one kind
        if row.rule is not rule or W.dtype is not dtype or W.get_device() != place:
            rule, dtype, place = row.rule, W.dtype, W.get_device()
            rule_kernel(rule, dtype, place)  # built before anything is changed
            table = tables.setdefault((rule, dtype, place), Table(place))
        if len(spans) == 1 and place < 0 and row.part is None and G is row.G:
            placed.append(Placed(row, table, len(table.rows)))
        table.add((W, G, *row.state), spans, row.draw, row.h, row.counter)
    runs = [partial(table.run, rule_kernel(*kind)) for kind, table in tables.items()]
    for run in runs:
        run()
    increment_version(changed)
    for row in eager:
        _eager_update(row)
    alike = len(placed) == len(rows) and len({row.counter.item() for row in rows}) == 1
    return (placed, runs) if alike else ([], [])


def _eager_update(row: Row) -> None:
    """The reference: Algorithm 1 for one parameter, operation by operation."""
    D = local_mask(row.W, row.part, row.draw)
    G = row.G.to(row.W.dtype)
    W, state = masked_step(row.rule, row.W, G, tuple(row.state), row.h, D)
    row.W.copy_(W)
    for tensor, value in zip(row.state, state, strict=True):
        tensor.copy_(value)
    row.counter.add_(1)
