"""A step's work: the rows of all parameters, and Algorithm 1 for them by kernels or eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from lrd.kernels import Table, fits, rule_kernel, walk
from lrd.mask import Draw, check_index, check_seed, threshold
from lrd.rules import Group, Row, Rule, check_gradient, masked_step, scalars
from lrd.shards import local, local_gradient, local_mask, part_of

Compile = bool | Literal["auto"]


def only_makes_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether this is the step by which checkpoint libraries have a new optimizer make its state.

    All learning rates and gradients are 0. It is not counted, or saving would shift the masks.
    """
    groups = optimizer.param_groups
    if optimizer.state or any(float(group.get("lr", 1.0)) != 0 for group in groups):
        return False
    gradients = [param.grad for group in groups for param in group["params"]]
    sums = [grad.detach().abs().sum() for grad in gradients if grad is not None]
    return all(float(s if part_of(s) is None else s.full_tensor()) == 0 for s in sums)


def rows_of(
    groups: Iterable[Group], rules: Iterable[Rule], states: dict[Tensor, dict[str, Any]]
) -> Iterator[Row]:
    """The parameters that have a gradient, with their state, made where it is missing."""
    index = 0
    for group, rule in zip(groups, rules, strict=True):
        limit, seed = threshold(group["keep_prob"]), check_seed(group["seed"])
        offset = check_index(group["index_offset"], "index_offset")
        shared: dict[int, list[Any]] = {}  # scalars by step: most parameters have had as many
        for param in group["params"]:
            if param.grad is not None:
                check_gradient(param.grad)
                part = None if type(param) is torch.nn.Parameter else part_of(param)
                state = _complete(states.setdefault(param, {}), param, rule)
                step = int(state["step"])
                if step not in shared:
                    shared[step] = scalars(rule, group, step + 1)
                own = [state[name] for name in rule.state]
                yield Row(
                    W=param if part is None else local(param),
                    G=param.grad if part is None else local_gradient(param),
                    state=own if part is None else [local(tensor) for tensor in own],
                    counter=state["step"],
                    rule=rule,
                    part=part,
                    draw=Draw(limit, seed, offset + index, step),
                    h=shared[step],
                )
            index += 1


def _complete(state: dict[str, Any], param: Tensor, rule: Rule) -> dict[str, Any]:
    """The state with all that the rule needs; a counter of another type becomes float32."""
    missing = [name for name in rule.state if state.get(name) is None]
    if "step" not in state:
        # SGD's checkpoint from torch has momentum and no step: it is not the first step any more
        begun = len(missing) < len(rule.state)
        state["step"] = counter(1.0 if begun else 0.0)
    elif getattr(state["step"], "dtype", None) != torch.float32 or state["step"].is_cuda:
        state["step"] = counter(state["step"])
    for name in missing:
        state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
    return state


def counter(updates: float | Tensor) -> Tensor:
    """A counter of updates on the CPU: half precision would stand still at 256 or 2,048."""
    return torch.tensor(float(updates), dtype=torch.float32, device="cpu")


def update(rows: list[Row], compile: Compile) -> None:
    """Algorithm 1 for all rows; what may fail comes before the first is changed.

    Raises CompilationError where there is no kernel, if `compile` asks for it or cannot know.
    """
    tables: dict[Callable[..., Any], Table] = {}
    eager, gradients = [], []
    for row in rows:
        spans = walk(row.W, row.part, compile is True) if compile else None
        if spans is None or not all(fits(tensor, row.W) for tensor in row.state):
            eager.append(row)
            continue
        G = row.G
        if not fits(G, row.W):
            G = torch.empty_like(row.W).copy_(G)
            gradients.append(G)  # the table holds its address alone
        table = tables.setdefault(rule_kernel(row.rule, row.W.dtype), Table())
        table.add((row.W, G, *row.state), spans, row.draw, row.h)
    for kernel, table in tables.items():
        table.run(kernel)
    for row in eager:
        _eager_update(row)
    torch._foreach_add_([row.counter for row in rows], 1.0)


def _eager_update(row: Row) -> None:
    """The reference: Algorithm 1 for one parameter, operation by operation."""
    D = local_mask(row.W, row.part, row.draw)
    G = row.G.to(row.W.dtype)
    W, state = masked_step(row.rule, row.W, G, tuple(row.state), row.h, D)
    row.W.copy_(W)
    for tensor, value in zip(row.state, state, strict=True):
        tensor.copy_(value)
