"""Benchmarks of one optimizer step, against torch's fastest and against other ways to mask."""

from __future__ import annotations

import importlib.util
import math
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import lrd
from models.fcnet import fcnet
from models.resnet import resnet34
from scripts.benchmark.measure import (
    FAST,
    KEEP_PROB,
    Result,
    compare,
    milliseconds,
    race,
    random_parameters,
    timed,
)

Step = Callable[[], object]
Params = list[nn.Parameter]


class Rule(NamedTuple):
    """torch's class, ours, their settings, and float32 state tensors for each parameter."""

    base: type
    masked: type
    settings: dict[str, Any]
    state: int
    fused: bool = True  # whether torch has a fused step


class Size(NamedTuple):
    """A net, goals of the step's ratio and the wrapper's, and how many steps are timed at once."""

    name: str
    net: Callable[[], nn.Module]
    goal: float
    goal_around: float
    repeat: int
    compiled: bool  # whether torch.compile is tried where there is a fused step: not if it is slow


RULES = {
    "SGDM": Rule(torch.optim.SGD, lrd.SGD, {"lr": 0.1, "momentum": 0.9}, 1),
    "RMSprop": Rule(torch.optim.RMSprop, lrd.RMSprop, {"lr": 1e-3}, 1, fused=False),
    "Adam": Rule(torch.optim.Adam, lrd.Adam, {}, 2),
    "AMSGrad": Rule(torch.optim.Adam, lrd.Adam, {"amsgrad": True}, 3),
    "AdamW": Rule(torch.optim.AdamW, lrd.AdamW, {}, 2),
    "RAdam": Rule(torch.optim.RAdam, lrd.RAdam, {}, 2, fused=False),
}
SIZES = (
    Size("21 M parameters", resnet34, 1.05, 2.1, 5, compiled=False),
    Size("1.8 M parameters", fcnet, 1.0, 1.9, 20, compiled=True),
)
FAMILY = {  # rules around an optimizer, and the goals of their ratios
    "Bernoulli": (lrd.Bernoulli(KEEP_PROB), None),  # learning rate dropout: the size's goal_around
    "Bernoulli, rescaled,": (lrd.Bernoulli(KEEP_PROB, rescale=True), 2.5),
    "SkipUpdate": (lrd.Bernoulli(KEEP_PROB, "tensor", rescale=True), 2.5),
    "Noise": (lrd.Noise(KEEP_PROB, 0.5), 2.5),
    "Cautious": (lrd.Cautious(), 4.0),
    "CautiousDecay": (lrd.CautiousDecay(), 4.0),
    "Magma": (lrd.Magma(), 4.0),
}
PEERS = {"pytorch_optimizer's Magma": "pytorch_optimizer", "magma-optimizer's Magma": "magma"}
GOALS = {"torch.bernoulli": 0.04} | dict.fromkeys(PEERS, 1 / 8)
GROWTH = (10**5, 10**6, 10**7, 3 * 10**7, 10**8)


def steps(rounds: int) -> Iterator[Result]:
    """Each rule's fast LRD step over the fastest step that torch has for the rule."""
    for size in SIZES:
        model = size.net()
        total = sum(param.numel() for param in model.parameters())
        fixed = _fixed_cost(len(list(model.parameters())), rounds)
        for name, rule in RULES.items():
            optimizers = _stock(rule, model, size)
            params = random_parameters(model)
            optimizers["LRD"] = rule.masked(params, **rule.settings, **FAST).step
            timers = {kind: timed(step, size.repeat) for kind, step in optimizers.items()}
            seconds = race(timers, rounds)
            ours = seconds.pop("LRD")
            fastest = min(seconds, key=lambda kind: milliseconds(seconds[kind]))
            moved = 4 * (2 * (1 + rule.state) + 1) * total  # reads G, reads and writes W and state
            limit = moved / _bandwidth(moved) * 1e3
            stock = ", ".join(f"{kind} {milliseconds(s):.3g}" for kind, s in seconds.items())
            note = (
                f"torch: {stock} ms; limit: {moved / 1e6:.0f} MB at "
                f"{moved / limit / 1e6:.0f} GB/s take {limit:.3g} ms; calls take {fixed:.2g} ms"
            )
            sides = f"{name}+LRD", f"torch's {name} ({fastest})", ours, seconds[fastest]
            numbers = {"size": size.name, "parameters": total}
            yield compare("step", *sides, **numbers, goal=size.goal, note=note)


def _stock(rule: Rule, model: nn.Module, size: Size) -> dict[str, Step]:
    """torch's own ways to make the step."""
    kinds = {"foreach": rule.base(random_parameters(model), **rule.settings, foreach=True).step}
    if rule.fused:
        kinds["fused"] = rule.base(random_parameters(model), **rule.settings, fused=True).step
    if size.compiled or not rule.fused:
        optimizer = rule.base(random_parameters(model), **rule.settings, foreach=True)
        optimizer.step()  # makes the state, so that it is compiled once
        kinds["compiled"] = torch.compile(optimizer.step)
    return kinds


def _fixed_cost(tensors: int, rounds: int) -> float:
    """Milliseconds that a step takes over as many parameters of one element."""
    model = nn.ParameterList(torch.randn(1) for _ in range(tensors))
    step = lrd.Adam(random_parameters(model), **FAST).step
    return milliseconds(race({"fixed": timed(step, 50)}, rounds)["fixed"])


def _bandwidth(moved: int) -> float:
    """Bytes a second of a ← a + s b, STREAM-like, in place as an optimizer is, over as much."""
    a, b = torch.zeros(moved // 12), torch.ones(moved // 12)  # 12 bytes: read a, b, write a
    timer = timed(lambda: a.add_(b, alpha=0.5), max(1, int(5e8 / moved)))
    timer()
    return moved / min(timer() for _ in range(7))


def masks(rounds: int) -> Iterator[Result]:
    """Adam with LRD against other ways to mask its updates."""
    for size in SIZES:
        model = size.net()
        total = sum(param.numel() for param in model.parameters())
        ours = {
            "Adam+LRD": lrd.Adam(random_parameters(model), **FAST).step,
            "Adam+LRD, eager step": lrd.Adam(random_parameters(model), compile=False).step,
            "fused Adam": torch.optim.Adam(random_parameters(model), fused=True).step,
        }
        rivals = {
            "torch.bernoulli": plain_adam(random_parameters(model), bernoulli),
            "torch.rand_like <": plain_adam(random_parameters(model), uniform),
        }
        rivals |= peers(model)
        steps = ours | rivals
        seconds = race({kind: timed(step, size.repeat) for kind, step in steps.items()}, rounds)
        numbers = {"size": size.name, "parameters": total}
        for kind in rivals:
            goal = GOALS.get(kind)
            sides = "Adam+LRD", kind, seconds["Adam+LRD"], seconds[kind]
            note = "around fused Adam" if kind in PEERS else "a loop over parameters"
            yield compare("masks", *sides, **numbers, goal=goal, note=note)
        sides = "Adam+LRD, eager step", "fused Adam"
        yield compare("masks", *sides, *(seconds[kind] for kind in sides), **numbers)


def family(rounds: int) -> Iterator[Result]:
    """lrd.MaskedUpdate with each rule around fused Adam, against fused Adam."""
    for size in SIZES:
        model = size.net()
        inner = {name: torch.optim.Adam(random_parameters(model), fused=True) for name in FAMILY}
        steps = {
            f"{name} around fused Adam": lrd.MaskedUpdate(inner[name], rule, **FAST).step
            for name, (rule, _) in FAMILY.items()
        }
        goals = dict(zip(steps, (goal for _, goal in FAMILY.values()), strict=True))
        steps["fused Adam"] = torch.optim.Adam(random_parameters(model), fused=True).step
        seconds = race({kind: timed(step, size.repeat) for kind, step in steps.items()}, rounds)
        numbers = {"size": size.name, "parameters": sum(p.numel() for p in model.parameters())}
        for kind, goal in goals.items():
            sides = kind, "fused Adam", seconds[kind], seconds["fused Adam"]
            yield compare("family", *sides, **numbers, goal=goal or size.goal_around)


def peers(model: nn.Module) -> dict[str, Step]:
    """Masked steps of other packages, of those that are installed."""
    steps: dict[str, Step] = {}
    for name, module in PEERS.items():
        if importlib.util.find_spec(module):
            inner = torch.optim.Adam(random_parameters(model), fused=True)
            steps[name] = importlib.import_module(module).Magma(inner).step
    return steps


def plain_adam(params: Params, draw: Callable[[Tensor], Tensor]) -> Step:
    """Adam with LRD as people write it: a loop over parameters, the mask times the update."""
    averages = [torch.zeros_like(param) for param in params]
    squares = [torch.zeros_like(param) for param in params]
    count = 0

    @torch.no_grad()
    def step() -> None:
        nonlocal count
        count += 1
        root = math.sqrt(1 - 0.999**count)
        for param, average, square in zip(params, averages, squares, strict=True):
            average.mul_(0.9).add_(param.grad, alpha=0.1)
            square.mul_(0.999).addcmul_(param.grad, param.grad, value=0.001)
            update = average / square.sqrt().div_(root).add_(1e-8)
            param.sub_(draw(param) * update, alpha=1e-3 / (1 - 0.9**count))

    return step


def bernoulli(param: Tensor) -> Tensor:
    """The mask that people write first."""
    return torch.bernoulli(torch.full_like(param, KEEP_PROB))


def uniform(param: Tensor) -> Tensor:
    """The fastest eager mask from the global generator."""
    return torch.rand_like(param) < KEEP_PROB


def _last_cache() -> int:
    """Bytes of the third-level cache; 0 where the system does not tell."""
    # os.sysconf knows the name in some builds of Python only
    told = subprocess.run(["getconf", "LEVEL3_CACHE_SIZE"], capture_output=True, text=True)
    return int(told.stdout.strip() or 0)


def growth(rounds: int) -> Iterator[Result]:
    """Nanoseconds for each parameter of one Adam+LRD step as parameters become more."""
    cache = _last_cache()
    beyond = []
    for count in GROWTH:
        model, repeat = nn.ParameterList([torch.randn(count)]), max(1, 10**7 // count)
        masked = lrd.Adam(random_parameters(model), **FAST)
        stock = torch.optim.Adam(random_parameters(model), fused=True)
        timers = {"LRD": timed(masked.step, repeat), "stock": timed(stock.step, repeat)}
        seconds = race(timers, rounds)
        nanoseconds = milliseconds(seconds["LRD"]) * 1e6 / count
        if 16 * count > cache:
            beyond.append(nanoseconds)
        sides = "Adam+LRD", "fused Adam", seconds["LRD"], seconds["stock"]
        size, note = f"one tensor of {count:.0e} parameters", f"{nanoseconds:.3g} ns a parameter"
        yield compare("growth", *sides, size=size, parameters=count, note=note)
    if len(beyond) > 1:
        what = "time for each parameter past the cache: longest / shortest"
        note = f"sizes of more than {cache / 1e6:.0f} MB, up to 10^8 parameters"
        yield Result("growth", what, value=max(beyond) / min(beyond), goal=1.5, note=note)
