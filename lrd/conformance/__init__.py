"""Does an optimizer mask its updates as it says? One line for each fault that others have had.

    python -m lrd.conformance package.module:Optimizer --keep-prob 0.3 [name=value ...]

The optimizer and its plain base get the same random gradients, without weight decay, so that the
base's update is known whatever the weights are; what the optimizer moves is compared with it,
element by element. `check` is the same for optimizers that no command line can build.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrd.mask import check_keep_prob

_SHAPE, _COUNT = (6, 5), 32  # of the parameters
_STEPS, _FIRST = 40, 6  # RAdam does not rectify its first five

Make = Callable[[Any], Any]


class Finding(NamedTuple):
    """A known fault, whether the optimizer has it (None: it cannot be told), and what was seen."""

    fault: str
    found: bool | None
    seen: str

    def __str__(self) -> str:
        mark = {True: "FAULT", False: "no", None: "?"}[self.found]
        return f"{mark:5}  {self.fault:38}  {self.seen}"


def _seed(seed: int) -> None:
    """Seed the generators that a program has one of: torch's, Python's, NumPy's if it is there."""
    torch.manual_seed(seed)
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)


def _states() -> tuple[list[int], Any, Any]:
    """The states of these generators."""
    of_numpy = None
    if numpy := sys.modules.get("numpy"):
        name, keys, *rest = numpy.random.get_state()
        of_numpy = name, keys.tolist(), *rest
    return torch.get_rng_state().tolist(), random.getstate(), of_numpy


class _Trial:
    """An optimizer on parameters of its own, by gradients that are the same in every trial."""

    def __init__(self, make: Make, decay: float = 0.0, seed: int = 0) -> None:
        stream = torch.Generator().manual_seed(1)
        self.params = [
            torch.nn.Parameter(torch.randn(_SHAPE, generator=stream, dtype=torch.float64))
            for _ in range(_COUNT)
        ]
        _seed(seed)
        self.optimizer = make([{"params": self.params, "weight_decay": decay}])

    def weights(self) -> Tensor:
        return torch.cat([param.detach().flatten() for param in self.params])

    def run(self, first: int = 0, last: int = _STEPS) -> Tensor:
        """Steps `first` … `last` - 1; what each moved (steps, elements)."""
        moves = []
        for number in range(first, last):
            stream = torch.Generator().manual_seed(100 + number)
            for param in self.params:
                param.grad = torch.randn(_SHAPE, generator=stream, dtype=torch.float64)
            before = self.weights()
            self.optimizer.step()
            moves.append(before - self.weights())
        return torch.stack(moves)


class _Seen(NamedTuple):
    """What was seen of an optimizer: moves over its base's moves, and which elements moved."""

    ratio: Tensor  # (steps, elements)
    moved: Tensor  # (steps, elements), bool
    base: Tensor  # (steps, elements), the base's moves
    p: float
    units: int  # parts of the parameters that have draws of their own, at least

    @property
    def masked_gradient(self) -> bool:
        """Whether dropped elements move too, once there is momentum."""
        first, late = self.moved[0].double().mean(), self.moved[_FIRST:].double().mean()
        return bool(first < 1 and late > 0.99)


def check(
    make_optimizer: Make, base: Make, keep_prob: float, rescale: bool | None = False
) -> list[Finding]:
    """Compare the optimizer that `make_optimizer(params)` makes with the plain one of `base`.

    Both take a list of param groups; `keep_prob` is what the optimizer is said to have, `rescale`
    whether survivors are said to be multiplied by its inverse (None: nothing is said). Give both
    momentum, without which some faults cannot be seen. Random states are put back.
    """
    p, (_, of_python, of_numpy) = check_keep_prob(keep_prob), _states()
    try:
        with torch.random.fork_rng(devices=[]):
            return _findings(make_optimizer, base, p, rescale)
    finally:
        random.setstate(of_python)
        if of_numpy:
            sys.modules["numpy"].random.set_state(of_numpy)


def _findings(make: Make, base: Make, p: float, rescale: bool | None) -> list[Finding]:
    plain, moves = _Trial(base).run(), _Trial(make).run()
    ratio = torch.where(plain.abs() > 1e-3 * plain.abs().mean(), moves / plain, torch.nan)
    moved = moves.abs() > 1e-9 * plain.abs()
    seen = _Seen(ratio, moved, plain, p, max(len(moved.T.unique(dim=0)), _COUNT))
    return [
        _momentum(seen),
        _gradient(seen),
        _one_mask(seen),
        _swapped(seen),
        _first_steps(seen),
        _replicas(seen, make),
        _restart(seen, make),
        _generator(make),
        _decay(seen, make, base),
        _rescaled(seen, rescale),
    ]


def _kept(seen: _Seen) -> Iterator[Tensor]:
    """The ratios of the elements that moved, of each parameter at each step."""
    for ratios in seen.ratio.view(-1, _COUNT, _SHAPE[0] * _SHAPE[1]).flatten(0, 1):
        kept = ratios[ratios.isfinite() & (ratios.abs() > 1e-9)]
        if len(kept) > 1:
            yield kept


def _spread(seen: _Seen) -> float | None:
    """The largest relative difference of ratios in a parameter at a step; None if none moves."""
    spreads = (float((kept.max() - kept.min()) / kept.abs().max()) for kept in _kept(seen))
    return max(spreads, default=None)


def _momentum(seen: _Seen) -> Finding:
    fault = "moments do not see every gradient"
    if seen.masked_gradient:
        return Finding(fault, None, "as the gradient is masked, see below")
    spread = _spread(seen)
    if spread is None:
        return Finding(fault, None, "no parameter moves")
    text = f"kept updates over the base's differ by {100 * spread:.2g} % or less in a parameter"
    return Finding(fault, spread > 1e-3, text)


def _gradient(seen: _Seen) -> Finding:
    first, late = (float(m.double().mean()) for m in (seen.moved[0], seen.moved[_FIRST:]))
    text = f"{100 * first:.0f} % move in the first step, {100 * late:.0f} % in late ones"
    return Finding("the gradient is masked instead", seen.masked_gradient, text)


def _one_mask(seen: _Seen) -> Finding:
    count = len(seen.moved[1:].unique(dim=0))
    unknown = seen.masked_gradient or not bool(seen.moved.any())
    found = None if unknown else count == 1 and not bool(seen.moved.all())
    return Finding("one mask is kept for ever", found, f"{count} masks in {_STEPS - 1} steps")


def _swapped(seen: _Seen) -> Finding:
    fault = "p is swapped, or another"
    part = seen.moved[:1] if seen.masked_gradient else seen.moved[_FIRST:]
    share, draws = float(part.double().mean()), seen.units * len(part.unique(dim=0))
    error = 5 * (seen.p * (1 - seen.p) / draws) ** 0.5
    text = f"{100 * share:.1f} % move, {100 * seen.p:g} % said"
    if share == 0:
        chance = (1 - seen.p) ** (seen.units * len(part)) > 1e-4
        return Finding(fault, None if chance else True, text)
    if abs(share - seen.p) <= error:
        near = abs(1 - 2 * seen.p) <= error
        return Finding(fault, None if near else False, text)
    return Finding(fault, True, text)


def _first_steps(seen: _Seen) -> Finding:
    whole = [number + 1 for number in range(_FIRST) if seen.moved[number].all()]
    text = f"steps in which all move: {', '.join(map(str, whole)) or 'none'} of the first {_FIRST}"
    chance = seen.p**seen.units > 1e-4
    found = None if chance or seen.masked_gradient else bool(whole)
    return Finding("first steps are not masked", found, text)


def _replicas(seen: _Seen, make: Make) -> Finding:
    trial = _Trial(make, seed=12345)
    other = trial.run(last=_FIRST).abs() > 1e-9 * seen.base[:_FIRST].abs()
    share = float((other != seen.moved[:_FIRST]).double().mean())
    text = f"{100 * share:.0f} % of mask bits differ under another global random state"
    return Finding("replicas differ", share > 0, text)


def _restart(seen: _Seen, make: Make) -> Finding:
    half = _STEPS // 2
    first = _Trial(make)
    first.run(last=half)
    trial = _Trial(make)  # the same seeds, as a program that is started again has them
    with torch.no_grad():
        for param, value in zip(trial.params, first.params, strict=True):
            param.copy_(value)
    trial.optimizer.load_state_dict(first.optimizer.state_dict())
    moved = trial.run(half, _STEPS).abs() > 1e-9 * seen.base[half:].abs()
    share = float((moved != seen.moved[half:]).double().mean())
    again = "begin again" if torch.equal(moved, seen.moved[:half]) else "are others"
    text = (
        "go on from a state_dict" if share == 0 else f"{again}: {100 * share:.0f} % of bits differ"
    )
    return Finding("masks restart after a resume", share > 0, text)


def _generator(make: Make) -> Finding:
    trial = _Trial(make)
    before = _states()
    trial.run(last=1)
    used = before != _states()
    text = f"a step {'moves' if used else 'leaves'} the global random state"
    return Finding("the global generator is used", used, text)


def _decay(seen: _Seen, make: Make, base: Make) -> Finding:
    fault, plain = "dropped parameters decay", [_Trial(base, decay) for decay in (0.0, 0.1)]
    if torch.equal(plain[0].run(last=1), plain[1].run(last=1)):
        return Finding(fault, None, "the base has no weight decay")
    dropped, again = ~seen.moved[0], _Trial(make).run(last=1)[0] != 0
    if not dropped.any():
        return Finding(fault, None, "no element is dropped in the first step")
    if (dropped & again).any():
        return Finding(fault, None, "the masks are others each time")
    moves = _Trial(make, decay=0.1).run(last=1)[0]
    share = float((moves[dropped] != 0).double().mean())
    text = f"{100 * share:.0f} % of dropped elements move with weight decay"
    return Finding(fault, share > 0, text)


def _rescaled(seen: _Seen, rescale: bool | None) -> Finding:
    fault, spread = "survivors' scale is another than said", _spread(seen)
    if spread is None:
        return Finding(fault, None, "no parameter moves")
    scales = torch.stack([kept.mean() for kept in _kept(seen)])
    low, high = float(scales.min()), float(scales.max())
    is_as_said, text = False, f"multiplied by {low:.3g} to {high:.3g}"
    for said, scale, name in ((False, 1.0, "not rescaled"), (True, 1 / seen.p, "rescaled by 1/p")):
        near = abs(low / scale - 1) < 1e-3 and abs(high / scale - 1) < 1e-3
        if near and not is_as_said:  # at p = 1 both are near
            is_as_said, text = rescale is said, name
    unknown = rescale is None or seen.masked_gradient or spread > 0.1
    return Finding(fault, None if unknown else not is_as_said, text)
