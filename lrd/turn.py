"""A parameter's turn at a step: what its optimizer did to it, shown to a rule that changes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import _global_optimizer_pre_hooks

from lrd.copies import Copies, change
from lrd.family import Rule, Update
from lrd.mask import Draw
from lrd.rules import Group, check_gradient
from lrd.shards import local, local_gradient, part_of, total
from lrd.step import Compile, only_makes_state

_OWN_MOMENTUM = 0.9


class Turn(NamedTuple):
    """A parameter whose update a rule is to change at this step."""

    param: Tensor
    group: Group
    rule: Rule
    draw: Draw


def is_hooked(optimizer: torch.optim.Optimizer) -> bool:
    """Whether hooks run before an optimizer's step: its own, or torch's for all optimizers."""
    return bool(optimizer._optimizer_step_pre_hooks or _global_optimizer_pre_hooks)


def step_and_gradients(
    optimizer: torch.optim.Optimizer, closure: Callable[[], Any] | None, turns: list[Turn]
) -> tuple[Any, dict[Tensor, Tensor], bool]:
    """Let an optimizer step; returns its result, the gradients of `turns` that it stepped by, and
    whether it is a step that counts.

    Hooks and closures make gradients, and hooks take them away: what counts is what was there when
    the last hook before the step, or the closure, had ended. RuntimeError for a sparse gradient of
    which a rule asks, if it can be told before the step.
    """
    grads: dict[Tensor, Tensor] = {}
    counted = True

    def collect(*_: Any) -> None:
        nonlocal counted
        counted = not only_makes_state(optimizer)
        grads.clear()
        for turn in turns:
            if (grad := turn.param.grad) is not None:
                if turn.rule.gradient:
                    check_gradient(grad)
                grads[turn.param] = grad

    def evaluate() -> Any:
        with torch.enable_grad():  # which not every optimizer does
            loss = closure()
        collect()
        return loss

    collect()
    hook = optimizer.register_step_pre_hook(collect) if is_hooked(optimizer) else None
    try:
        loss = optimizer.step() if closure is None else optimizer.step(evaluate)
        return loss, grads, counted
    finally:
        if hook:
            hook.remove()


def update_of(
    turn: Turn,
    optimizer: torch.optim.Optimizer,
    copies: Copies,
    grads: dict[Tensor, Tensor],
    compile: Compile,
) -> Update:
    """What the rule sees of an update that was made."""
    param, group, rule, _ = turn
    grad = grads[param]
    W, part, G, M, base = local(param), part_of(param), None, None, 1.0
    if rule.gradient:
        G = grad if part is None else local_gradient(param, grad)
        G = -G if group.get("maximize") else G
        G = G.to(param.dtype)
        if type(G) is not Tensor:  # it is still under way, and has no memory of its own
            G = torch.empty_like(W).copy_(G)
    if rule.momentum:
        M = _momentum(optimizer.state[param], param, G)
    if rule.apart and is_decoupled(optimizer, group):
        base = 1.0 - float(group["lr"]) * float(group["weight_decay"])
    sums, compiled = partial(total, param), bool(compile)
    return Update(W, copies[param], G, M, base, part, sums, compiled)


def _momentum(state: dict[str, Any], param: Tensor, G: Tensor) -> Tensor:
    """The inner optimizer's momentum of a parameter, or else an average of our own."""
    for name in ("exp_avg", "momentum_buffer"):
        if isinstance(state.get(name), Tensor):
            return local(state[name])
    if "mask_momentum" not in state:
        state["mask_momentum"] = torch.zeros_like(param)
    return local(state["mask_momentum"]).lerp_(G.nan_to_num(0.0, 0.0, 0.0), 1.0 - _OWN_MOMENTUM)


def change_all(turns: list[Turn], updates: list[Update], states: dict[Tensor, float]) -> None:
    """Let rules change updates, and remember each parameter's state where they have one."""
    pairs = list(zip(turns, updates, strict=True))
    sums = [turn.rule.sums(update) for turn, update in pairs]
    known = [each for each in sums if each is not None]
    known = [each.to(known[0].device) for each in known]
    numbers = iter(torch.stack(known).tolist() if known else ())  # waits for the device once
    changes, alike = [], {}  # scalars that are the same object are in a kernel's table once
    for (turn, update), own in zip(pairs, sums, strict=True):
        state = states.get(turn.param, 0.0)
        h, new = turn.rule.scalars(() if own is None else next(numbers), update, state)
        if turn.rule.state:
            states[turn.param] = new
        h = alike.setdefault(h, h)
        changes.append((update, turn.rule.formula, turn.draw, h))
    change(changes)


def is_decoupled(optimizer: torch.optim.Optimizer, group: Group) -> bool:
    """Whether weight decay is apart from the gradient; ValueError where nothing says so."""
    if not group.get("weight_decay"):
        return False
    name = type(optimizer).__name__
    if "decoupled_weight_decay" in group:
        decoupled = bool(group["decoupled_weight_decay"])
    elif type(optimizer).__module__.startswith("torch.optim"):  # AdamW's says nothing before 2.7
        decoupled = name in ("AdamW", "Adafactor", "Muon")
    else:
        raise ValueError(
            f"a cautious rule must know whether the weight decay of {name} is decoupled (AdamW) or "
            'part of the gradient: give each of its param groups "decoupled_weight_decay": False, '
            "or True if its step multiplies weights by 1 - lr * weight_decay"
        )
    if decoupled and group.get("lr") is None:
        raise ValueError(
            f"a cautious rule tells {name}'s update from its weight decay by the learning rate: "
            "give it an lr, or a weight_decay of 0"
        )
    return decoupled
