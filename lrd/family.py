"""The family of masked updates: rules for what becomes of an optimizer's update Δ.

A rule sees a parameter before (`old`) and after (`W`) its optimizer's step, so that Δ = old − W has
the learning rate in it. As an update rule it has two halves: numbers of the whole parameter, the
scalars h of this step, and a formula of single elements, (W, old, G, h, draw) -> new weights, which
kernels/step.c has in C. Both are pure functions: what is drawn is one of (seed, index, step,
element), and a state is a number that goes in and out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lrd.kernels import copy_kernel, walk
from lrd.kernels.table import Table, fits, line
from lrd.mask import check_keep_prob, check_mask, check_switch, threshold
from lrd.shards import Part

_CHUNK = 1 << 16  # elements worked on at once, so that temporaries stay in a CPU's cache


class Update(NamedTuple):
    """An optimizer's update of a parameter: of tensors, what this process holds of them."""

    W: Tensor  # after the optimizer's step
    old: Tensor  # before it
    G: Tensor | None  # the gradient that was descended; None for rules that do not ask for it
    M: Tensor | None  # the momentum, which has seen G; None likewise
    base: float  # what decoupled weight decay leaves of `old`: 1 − αλ
    part: Part | None
    sum: Callable[[Tensor], Tensor]  # over the processes that hold a part
    compile: bool  # whether kernels may be taken


def _blend(F: Tensor, W: Tensor, old: Tensor) -> Tensor:
    """old − F ∘ Δ; where F is 0 or 1, `old` or `W` to the bit."""
    return torch.where(F == 1, W, torch.where(F == 0, old, old - F * (old - W)))


def scaled(W: Tensor, old: Tensor, G: Tensor, h: Sequence[float], D: Tensor) -> Tensor:
    return _blend(D.to(W.dtype) * h[0], W, old)


def noisy(W: Tensor, old: Tensor, G: Tensor, h: Sequence[float], word: Tensor) -> Tensor:
    return old - (h[0] + h[1] * (bell(word) - 1530).to(W.dtype)) * (old - W)


def cautious(W: Tensor, old: Tensor, G: Tensor, h: Sequence[float], _: None) -> Tensor:
    base = h[1] * old
    return _blend(((base - W) * G > 0).to(W.dtype) * h[0], W, base)


def decayed(W: Tensor, old: Tensor, G: Tensor, h: Sequence[float], _: None) -> Tensor:
    delta = h[0] * old - W
    return torch.where(delta * old >= 0, W, old - delta)


def bell(word: Tensor) -> Tensor:
    """The sum of twelve bytes that a draw's hash is mixed to, int32: near normal around 1,530.

    Its variance is 65,535, its kurtosis 2.9; integers alone, so that all devices have its bits.
    """
    word = word ^ ((word >> 16) & 0xFFFF)
    sums = _pairs(word)
    for factor, shift in ((0x7FEB352D, 15), (-0x7B935975, 16)):
        word = word * factor
        word = word ^ ((word >> shift) & (0xFFFFFFFF >> shift))
        sums += _pairs(word)
    return (sums & 0xFFFF) + (sums >> 16)


def _pairs(word: Tensor) -> Tensor:
    """Two sums of two of a word's four bytes, in its halves."""
    return (word & 0x00FF00FF) + ((word >> 8) & 0x00FF00FF)


class Rule:
    """What most rules have in common."""

    formula: str  # name of a function of this module, or put_back; and of a kernel
    state: ClassVar[str] = ""  # name of a number that each parameter has; at first it is 0
    apart: ClassVar[bool] = False  # Δ is to be seen without decoupled weight decay
    gradient: ClassVar[bool] = False  # the rule asks for G,
    momentum: ClassVar[bool] = False  # and for M
    mask: str = "element"
    hold: int = 1
    limit: int | None = None  # of the draws; None for their hash

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that a step takes."""
        return (self.formula,)

    def sums(self, update: Update) -> Tensor | None:
        """Sums over the whole parameter that `scalars` is made of."""

    def scalars(self, sums: Sequence[float], update: Update, state: float) -> tuple[Any, float]:
        """The scalars h of the formula, and the new state."""
        return (), state

    def _set(self, **checked: Any) -> None:
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Bernoulli(Rule):
    """W −= D ∘ Δ, with `rescale` W −= (D/p) ∘ Δ; D ~ Bernoulli(p), drawn anew every `hold` steps.

    `mask` says what one draw decides on: "element", "row" or "tensor". Learning rate dropout
    (https://arxiv.org/abs/1912.00144, Algorithm 1) is over elements; SkipUpdate
    (https://arxiv.org/abs/2602.15322) over tensors, rescaled. Weight decay is part of Δ.
    """

    keep_prob: float = 0.5
    mask: str = "element"
    rescale: bool = False
    hold: int = 1

    def __post_init__(self) -> None:
        self._set(keep_prob=check_keep_prob(self.keep_prob), hold=_check_hold(self.hold))
        check_mask(self.mask), check_switch("rescale", self.rescale)
        formula = "scaled" if self.rescale else "put_back"
        self._set(limit=threshold(self.keep_prob), formula=formula)

    def scalars(self, sums: Sequence[float], update: Update, state: float) -> tuple[Any, float]:
        return (1.0 / self.keep_prob if self.rescale else 1.0,), state


@dataclass(frozen=True)
class Noise(Rule):
    """W −= ξ ∘ Δ, ξ ~ N(mean, std²): noise in the place of a mask, which has p and √(p(1 − p)).

    Drawn like a mask, for each "element", "row" or "tensor"; a sum of twelve uniform bytes takes
    the place of a normal number. Weight decay is part of Δ. A control of this package's own.
    """

    mean: float
    std: float
    mask: str = "element"
    formula = "noisy"

    def __post_init__(self) -> None:
        self._set(mean=_check_number("mean", self.mean), std=_check_number("std", self.std, 0.0))
        check_mask(self.mask)

    def scalars(self, sums: Sequence[float], update: Update, state: float) -> tuple[Any, float]:
        return (self.mean, self.std / math.sqrt(65_535)), state


@dataclass(frozen=True)
class Cautious(Rule):
    """W −= Δ ∘ 1[Δ ∘ G > 0] · n / (nnz + 1): only where update and gradient agree in sign.

    n elements of a parameter, nnz of which agree; without `rescale` the factor is 1. Liang et al.,
    https://arxiv.org/abs/2411.16085, Algorithm 1: Δ is without decoupled weight decay, which is in
    full for every element.
    """

    rescale: bool = True
    formula = "cautious"
    kernels = ("cautious", "agreeing")
    apart: ClassVar[bool] = True
    gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_switch("rescale", self.rescale)

    def sums(self, update: Update) -> Tensor | None:
        if not self.rescale:
            return None
        count = _agreeing(update)
        return update.sum(torch.stack([count, torch.full_like(count, update.W.numel())]))

    def scalars(self, sums: Sequence[float], update: Update, state: float) -> tuple[Any, float]:
        return (sums[1] / (sums[0] + 1) if self.rescale else 1.0, update.base), state


@dataclass(frozen=True)
class CautiousDecay(Rule):
    """W −= Δ + αλ W ∘ 1[Δ ∘ W ≥ 0]: decoupled weight decay only where the update shrinks W too.

    Chen et al., https://arxiv.org/abs/2510.12402. The update Δ, without the decay, is in full.
    """

    formula = "decayed"
    apart: ClassVar[bool] = True

    def scalars(self, sums: Sequence[float], update: Update, state: float) -> tuple[Any, float]:
        return (update.base,), state


@dataclass(frozen=True)
class Magma(Rule):
    """W −= s D Δ, D ~ Bernoulli(p) for the tensor; s ← ρ s + (1 − ρ) σ(cos(M, G)/τ), ρ smoothing.

    Joo et al., https://arxiv.org/abs/2602.15322. M is the base's momentum after it has seen G; s
    starts at its first σ. At keep_prob=1 it is Magma's scale without a mask. Weight decay is part
    of Δ. The paper exempts embeddings.
    """

    keep_prob: float = 0.5
    tau: float = 2.0
    smoothing: float = 0.9
    mask: ClassVar[str] = "tensor"
    formula = "scaled"
    state: ClassVar[str] = "mask_scales"
    gradient: ClassVar[bool] = True
    momentum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._set(keep_prob=check_keep_prob(self.keep_prob), limit=threshold(self.keep_prob))
        self._set(tau=_check_number("tau", self.tau, 0.0))
        self._set(smoothing=_check_number("smoothing", self.smoothing, 0.0))
        if not self.tau > 0 or self.smoothing >= 1:
            raise ValueError(
                "tau must be positive and smoothing in [0, 1), "
                f"got tau={self.tau!r}, smoothing={self.smoothing!r}"
            )

    def sums(self, update: Update) -> Tensor | None:
        M, G = (tensor.reshape(-1).to(_real(tensor)) for tensor in (update.M, update.G))
        return update.sum(torch.stack([torch.dot(M, G), torch.dot(M, M), torch.dot(G, G)]))

    def scalars(self, sums: Sequence[float], update: Update, state: float) -> tuple[Any, float]:
        norms = math.sqrt(sums[1]) * math.sqrt(sums[2])
        cosine = sums[0] / norms if 0 < norms < math.inf else 0.0
        scale = 1.0 / (1.0 + math.exp(min(-cosine / self.tau, 700.0)))  # e^710 overflows
        if state > 0:
            scale = self.smoothing * state + (1.0 - self.smoothing) * scale
        return (scale,), scale


def _agreeing(update: Update) -> Tensor:
    """How many elements of an update have the gradient's sign, int64."""
    W, tensors = update.W, (update.W, update.old, update.G)
    count = torch.zeros((), dtype=torch.int64, device=W.device)
    layout = walk(W, None, False) if update.compile and fits(*tensors) else None
    if layout and len(layout) == 1:
        place = W.get_device()
        table = Table(place)
        table.add((*tensors, count), line(W.numel()), h=(update.base,))
        table.run(copy_kernel("agreeing", W.dtype, place))
        return count
    for chunks in zip(*(tensor.reshape(-1).split(_CHUNK) for tensor in tensors), strict=True):
        new, old, G = (chunk.to(_real(chunk)) for chunk in chunks)
        count += ((update.base * old - new).mul_(G) > 0).sum()
    return count


def _real(tensor: Tensor) -> torch.dtype:
    """The type of a computation, in which half precision is float32."""
    return torch.float64 if tensor.dtype is torch.float64 else torch.float32


def _check_hold(hold: int) -> int:
    if isinstance(hold, bool) or not isinstance(hold, Integral) or hold < 1:
        raise ValueError(f"hold must be a number of steps, 1 or more, got {hold!r}")
    return int(hold)


def _check_number(name: str, given: float, least: float = -math.inf) -> float:
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or given < least:
        expected = "a number" if least == -math.inf else f"a number of at least {least:g}"
        raise ValueError(f"{name} must be {expected}, got {given!r}")
    return float(given)
