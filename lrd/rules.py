"""Update rules: gradient and state in, ΔW out, in the letters of arXiv:1912.00144, Algorithm 1.

A rule is a pure function `rule(W, G, state, h, **flags) -> (ΔW, state)` of tensors of one shape.
φ makes the momentum M_t, ψ the second moment V_t; ΔW_t = M_t / √V_t, or M_t where there is no ψ.
The mask is not the rules' business: `masked_step` applies it to any of them.

`h` holds the step's scalars: h[0] is the learning rate α and h[1] the weight decay λ for all rules.
`scalars` computes them for update number t = 1, 2, …, from a param group with torch.optim's names
for hyper-parameters. What a rule needs to know to choose its formula is a flag. A term that torch
leaves out where its factor is 0 is left out here too: 0 · inf is NaN. kernels/step.c has the same
rules in C.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.mask import Draw
from lrd.shards import Part

_LAST_STEP = 1 << 24

State = tuple[Tensor, ...]
Group = dict[str, Any]


class Rule(NamedTuple):
    """An update rule with what an optimizer must know about it."""

    update: Callable[..., tuple[Tensor, State]]
    scalars: Callable[[Group, int], list[float]]
    state: tuple[str, ...]  # names of the state tensors, torch.optim's
    flags: tuple[tuple[str, bool], ...] = ()  # keywords of `update`
    decoupled: bool = False  # weight decay belongs to ΔW (AdamW) instead of to the gradient
    maximize: bool = False


class Row(NamedTuple):
    """What the update of one parameter needs: of tensors, what this process holds of them."""

    W: Tensor
    G: Tensor
    state: Sequence[Tensor]
    counter: Tensor  # float32: how many updates there were
    rule: Rule
    part: Part | None  # that `W` is of the parameter; None if it is all of it
    draw: Draw
    h: list[Any]


def check_gradient(grad: Tensor) -> None:
    """RuntimeError for a sparse gradient."""
    if grad.layout is not torch.strided:
        raise RuntimeError(
            f"lrd does not support gradients of layout {grad.layout}: "
            "make them dense, for an Embedding with sparse=False"
        )


def scalars(rule: Rule, group: Group, t: int) -> list[Any]:
    """α, λ and the rule's own scalars of update number t = 1, 2, …; α may be a tensor.

    Where survivors are rescaled, α/p takes the place of α.

    Raises RuntimeError where float32, torch's type of step counters, stops counting.
    """
    if t > _LAST_STEP:
        raise RuntimeError(f"a parameter has had {_LAST_STEP} updates, the most that are counted")
    alpha = group["lr"] / group["keep_prob"] if group["rescale"] else group["lr"]
    return [alpha, group["weight_decay"], *rule.scalars(group, t)]


def masked_step(
    rule: Rule, W: Tensor, G: Tensor, state: State, h: Sequence[float] | Tensor, D: Tensor
) -> tuple[Tensor, State]:
    """Algorithm 1, lines 3–13: W_t = W_{t-1} − α D_t ∘ ΔW_t, and the new state.

    Half precision is computed in float32 and rounded where it is stored.
    """
    if W.dtype in (torch.bfloat16, torch.float16):
        W, G, state = W.float(), G.float(), tuple(s.float() for s in state)
    alpha, decay = h[0], h[1]
    if rule.maximize:
        G = -G
    if decay != 0 and not rule.decoupled:
        G = G + decay * W
    delta, state = rule.update(W, G, state, h, **dict(rule.flags))
    if decay != 0 and rule.decoupled:
        delta = delta + decay * W
    return torch.where(D, W - alpha * delta, W), state


def sgdm(W: Tensor, G: Tensor, state: State, h, *, momentum: bool, nesterov: bool):
    """M = μ M + (1 − τ) G; ΔW = M, or G + μ M with Nesterov's momentum."""
    if not momentum:
        return G, state
    mu, gain = h[2], h[3]
    M = mu * state[0] + gain * G
    return (G + mu * M if nesterov else M), (M,)


def sgdm_scalars(group: Group, t: int) -> list[float]:
    gain = 1.0 if t == 1 else 1.0 - group["dampening"]  # torch does not dampen the first step
    return [group["momentum"], gain]


def rmsprop(W: Tensor, G: Tensor, state: State, h, *, momentum: bool, centered: bool):
    """V = ρ V + (1 − ρ) G²; ΔW = G / (√V + ε). Centered: √(V − Ḡ²). Momentum is over ΔW."""
    rho, gain, eps, mu = h[2], h[3], h[4], h[5]
    V = rho * state[0] + gain * (G * G)
    variance, new = V, (V,)
    if centered:
        mean = state[1] + gain * (G - state[1])
        variance, new = V - mean * mean, (V, mean)
    delta = G / (variance.sqrt() + eps)
    if momentum:
        delta = mu * state[-1] + delta
        new = (*new, delta)
    return delta, new


def rmsprop_scalars(group: Group, t: int) -> list[float]:
    return [group["alpha"], 1.0 - group["alpha"], group["eps"], group["momentum"]]


def adam(W: Tensor, G: Tensor, state: State, h, *, amsgrad: bool):
    """M = β₁ M + (1 − β₁) G; V = β₂ V + (1 − β₂) G²; ΔW = M̂ / (√V̂ + ε), V̂ at its maximum
    so far with AMSGrad. The bias corrections of M̂ and √V̂ are folded into `scale` and `eps`."""
    gain1, beta2, gain2, scale, eps = h[2], h[3], h[4], h[5], h[6]
    M = state[0] + gain1 * (G - state[0])
    V = beta2 * state[1] + gain2 * (G * G)
    if amsgrad:
        V_max = torch.maximum(state[2], V)
        return scale * (M / (V_max.sqrt() + eps)), (M, V, V_max)
    return scale * (M / (V.sqrt() + eps)), (M, V)


def adam_scalars(group: Group, t: int) -> list[float]:
    beta1, beta2 = (float(beta) for beta in group["betas"])
    root = math.sqrt(1.0 - beta2**t)
    return [1.0 - beta1, beta2, 1.0 - beta2, root / (1.0 - beta1**t), group["eps"] * root]


def radam(W: Tensor, G: Tensor, state: State, h):
    """Adam's M and V; ΔW = r_t M̂ / (√V̂ + ε) once the variance is tractable, before that M̂.

    Liu et al., https://arxiv.org/abs/1908.03265. One formula for both branches,
    scale · M / (root · √V + shift), with the scalars chosen per step: both get masked alike.
    """
    gain1, beta2, gain2, scale, root, shift = h[2], h[3], h[4], h[5], h[6], h[7]
    M = state[0] + gain1 * (G - state[0])
    V = beta2 * state[1] + gain2 * (G * G)
    return scale * (M / (root * V.sqrt() + shift if root else shift)), (M, V)


def radam_scalars(group: Group, t: int) -> list[float]:
    beta1, beta2 = (float(beta) for beta in group["betas"])
    moments = [1.0 - beta1, beta2, 1.0 - beta2]
    correction1, correction2 = 1.0 - beta1**t, 1.0 - beta2**t
    rho_inf = 2.0 / (1.0 - beta2) - 1.0
    rho = rho_inf - 2.0 * t * beta2**t / correction2
    if rho <= 5.0:
        return [*moments, 1.0 / correction1, 0.0, 1.0]
    rectified = math.sqrt(
        (rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)
    )
    return [*moments, rectified * math.sqrt(correction2) / correction1, 1.0, group["eps"]]
