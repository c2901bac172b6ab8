"""The rules of lrd/rules.py and the formulas of lrd/family.py in Triton, as step.c has them in C.

Arguments in capitals but those of the paper's letters are constants of a compilation: a rule's
flags, and REAL, the type that is computed in. `h` points to the scalars, in float64.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def drawn(element, key0, key1):
    """The word, uint32, that decides on an element."""
    x = (element ^ key0.to(tl.uint32)) * 0x9E3779B1
    x = ((x ^ (x >> 16)) ^ key1.to(tl.uint32)) * 0x7FEB352D
    return (x ^ (x >> 15)) * 0x846CA68B


@triton.jit
def kept(word, limit):
    return word.to(tl.int32, bitcast=True) <= limit.to(tl.int32)


@triton.jit
def _blend(F, W, old):
    return tl.where(F == 1, W, tl.where(F == 0, old, old - F * (old - W)))


@triton.jit
def _pairs(x):
    return (x & 0x00FF00FF) + ((x >> 8) & 0x00FF00FF)


@triton.jit
def _bell(x):
    """The sum of the twelve bytes of three words."""
    x = x ^ (x >> 16)
    y = x * 0x7FEB352D
    y = y ^ (y >> 15)
    z = y * 0x846CA68B
    sums = _pairs(x) + _pairs(y) + _pairs(z ^ (z >> 16))
    return ((sums & 0xFFFF) + (sums >> 16)).to(tl.int32, bitcast=True)


@triton.jit
def agreeing(W, old, G, h, REAL: tl.constexpr):
    return (tl.load(h).to(REAL) * old - W) * G > 0


@triton.jit
def changed(W, old, G, word, limit, h, FORMULA: tl.constexpr, REAL: tl.constexpr):
    """What a formula makes of weights that were `old` before a step with gradient G."""
    first = tl.load(h).to(REAL)
    if FORMULA == "SCALED":
        W = _blend(tl.where(kept(word, limit), first, 0), W, old)
    elif FORMULA == "NOISY":
        factor = first + tl.load(h + 1).to(REAL) * (_bell(word) - 1530).to(REAL)
        W = old - factor * (old - W)
    elif FORMULA == "CAUTIOUS":
        base = tl.load(h + 1).to(REAL) * old
        W = _blend(tl.where((base - W) * G > 0, first, 0), W, base)
    else:
        tl.static_assert(FORMULA == "DECAYED")
        delta = first * old - W
        W = tl.where(delta * old >= 0, W, old - delta)
    return W


@triton.jit
def _root(V, REAL: tl.constexpr):
    return tl.sqrt(V) if tl.float64 == REAL else tl.sqrt_rn(V)


@triton.jit
def _quotient(a, b, REAL: tl.constexpr):
    return a / b if tl.float64 == REAL else tl.div_rn(a, b)


@triton.jit
def sgdm(G, S0, h, MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, REAL: tl.constexpr):
    if MOMENTUM:
        mu, gain = tl.load(h + 2).to(REAL), tl.load(h + 3).to(REAL)
        S0 = mu * S0 + gain * G
        G = G + mu * S0 if NESTEROV else S0
    return G, S0


@triton.jit
def rmsprop(G, S0, S1, S2, h, MOMENTUM: tl.constexpr, CENTERED: tl.constexpr, REAL: tl.constexpr):
    rho, gain = tl.load(h + 2).to(REAL), tl.load(h + 3).to(REAL)
    eps, mu = tl.load(h + 4).to(REAL), tl.load(h + 5).to(REAL)
    S0 = rho * S0 + gain * (G * G)
    V = S0
    if CENTERED:
        S1 = S1 + gain * (G - S1)
        V = V - S1 * S1
    delta = _quotient(G, _root(V, REAL) + eps, REAL)
    if MOMENTUM and CENTERED:
        S2 = mu * S2 + delta
        delta = S2
    elif MOMENTUM:
        S1 = mu * S1 + delta
        delta = S1
    return delta, S0, S1, S2


@triton.jit
def adam(G, S0, S1, S2, h, AMSGRAD: tl.constexpr, REAL: tl.constexpr):
    gain1, beta2, gain2 = (
        tl.load(h + 2).to(REAL), tl.load(h + 3).to(REAL), tl.load(h + 4).to(REAL)
    )  # fmt: skip
    scale, eps = tl.load(h + 5).to(REAL), tl.load(h + 6).to(REAL)
    S0 = S0 + gain1 * (G - S0)
    S1 = beta2 * S1 + gain2 * (G * G)
    V = S1
    if AMSGRAD:
        S2 = tl.where((S2 > V) | (S2 != S2), S2, V)  # NaN stays, as in torch
        V = S2
    return scale * _quotient(S0, _root(V, REAL) + eps, REAL), S0, S1, S2


@triton.jit
def radam(G, S0, S1, h, REAL: tl.constexpr):
    gain1, beta2, gain2 = (
        tl.load(h + 2).to(REAL), tl.load(h + 3).to(REAL), tl.load(h + 4).to(REAL)
    )  # fmt: skip
    scale, root, shift = (
        tl.load(h + 5).to(REAL), tl.load(h + 6).to(REAL), tl.load(h + 7).to(REAL)
    )  # fmt: skip
    S0 = S0 + gain1 * (G - S0)
    S1 = beta2 * S1 + gain2 * (G * G)
    below = tl.where(root != 0, root * _root(S1, REAL) + shift, shift)
    return scale * _quotient(S0, below, REAL), S0, S1
