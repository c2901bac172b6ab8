"""Benchmarks of one optimizer step, against torch's fastest and against other ways to mask."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import subprocess
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

import lrd
from models.fcnet import fcnet
from models.resnet import resnet34
from scripts.benchmark.measure import (
    KEEP_PROB,
    Result,
    compare,
    measure,
    milliseconds,
    random_parameters,
    timed,
)

Step = Callable[[], object]
Params = list[nn.Parameter]

# torch's class, ours, hyper-parameters, float32 state tensors for each parameter
RULES: dict[str, tuple[type, type, dict[str, object], int]] = {
    "SGDM": (torch.optim.SGD, lrd.SGD, {"lr": 0.1, "momentum": 0.9}, 1),
    "RMSprop": (torch.optim.RMSprop, lrd.RMSprop, {"lr": 1e-3}, 1),
    "Adam": (torch.optim.Adam, lrd.Adam, {}, 2),
    "AMSGrad": (torch.optim.Adam, lrd.Adam, {"amsgrad": True}, 3),
    "AdamW": (torch.optim.AdamW, lrd.AdamW, {}, 2),
    "RAdam": (torch.optim.RAdam, lrd.RAdam, {}, 2),
}
HAVE_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
# net, goal of the step's ratio, steps timed at once
SIZES: dict[str, tuple[Callable[[], nn.Module], float, int]] = {
    "21 M parameters": (resnet34, 1.05, 5),
    "1.8 M parameters": (fcnet, 1.25, 20),
}
PEERS = (("magma", "magma-optimizer"), ("pytorch_optimizer", "pytorch-optimizer"))
GROWTH = (10**5, 10**6, 10**7, 3 * 10**7, 10**8)


def steps(rounds: int) -> Iterator[Result]:
    """Each rule's fused LRD step over the fastest step that torch has for the rule."""
    for size, (build, goal, repeat) in SIZES.items():
        model = build()
        total = sum(param.numel() for param in model.parameters())
        fixed = _fixed_cost(len(list(model.parameters())), rounds)
        for name, (base, ours, settings, state) in RULES.items():
            optimizers = _stock(base, settings, model, size)
            optimizers["LRD"] = ours(random_parameters(model), **settings, compile=True).step
            timers = {kind: timed(step, repeat) for kind, step in optimizers.items()}
            _warm_up(timers)
            seconds = measure(timers, rounds)
            masked = seconds.pop("LRD")
            fastest = min(seconds, key=lambda kind: milliseconds(seconds[kind]))
            moved = 4 * (2 * (1 + state) + 1) * total  # reads G, reads and writes W and its state
            limit = moved / _bandwidth(moved) * 1e3
            stock = ", ".join(f"{kind} {milliseconds(s):.3g}" for kind, s in seconds.items())
            note = (
                f"torch: {stock} ms; limit: {moved / 1e6:.0f} MB at "
                f"{moved / limit / 1e6:.0f} GB/s take {limit:.3g} ms; calls take {fixed:.2g} ms"
            )
            what = f"{name}+LRD / torch's {name} ({fastest}), {size}"
            yield compare("step", what, goal, masked, seconds[fastest], note)


def _stock(base: type, settings: dict[str, object], model: nn.Module, size: str) -> dict[str, Step]:
    """torch's own ways to make the step.

    A compiled one is tried for every rule at the small size; at the large one, where it takes a
    minute to compile, only for the rules that have no fused one.
    """
    found = {"foreach": base(random_parameters(model), **settings, foreach=True).step}
    if base in HAVE_FUSED:
        found["fused"] = base(random_parameters(model), **settings, fused=True).step
    if base not in HAVE_FUSED or size.startswith("1.8"):
        optimizer = base(random_parameters(model), **settings, foreach=True)
        optimizer.step()  # makes the state, so that it is compiled once
        found["compiled"] = torch.compile(optimizer.step)
    return found


def _warm_up(timers: dict[str, Callable[[], float]]) -> None:
    for timer in timers.values():
        timer()


def _fixed_cost(tensors: int, rounds: int) -> float:
    """Milliseconds that a step takes over as many parameters of one element."""
    timer = timed(lrd.Adam(random_parameters(_Flat(*[1] * tensors)), compile=True).step, 50)
    timer()
    return milliseconds(measure({"fixed": timer}, rounds)["fixed"])


def _bandwidth(moved: int) -> float:
    """Bytes a second of a ← a + s b, STREAM-like, in place as an optimizer is, over as much."""
    a, b = torch.zeros(moved // 12), torch.ones(moved // 12)  # 12 bytes: read a, b, write a
    timer = timed(lambda: a.add_(b, alpha=0.5), max(1, int(5e8 / moved)))
    timer()
    return moved / min(timer() for _ in range(7))


class _Flat(nn.Module):
    """Flat parameters of the given lengths."""

    def __init__(self, *lengths: int) -> None:
        super().__init__()
        self.params = nn.ParameterList(torch.randn(length) for length in lengths)


def masks(rounds: int) -> Iterator[Result]:
    """Adam with LRD against other ways to mask its updates."""
    for size, (build, _, repeat) in SIZES.items():
        model = build()
        inner = torch.optim.Adam(random_parameters(model), fused=True)
        steps = {
            "LRD": lrd.Adam(random_parameters(model), compile=True).step,
            "stock": torch.optim.Adam(random_parameters(model), fused=True).step,
            "torch.bernoulli": plain_adam(random_parameters(model), bernoulli),
            "torch.rand_like <": plain_adam(random_parameters(model), uniform),
            "eager": lrd.Adam(random_parameters(model), compile=False).step,
            "wrapper": lrd.LearningRateDropout(inner).step,
            **dict(_peers(model)),
        }
        timers = {
            kind: timed(step, repeat if kind in ("LRD", "stock") else 1)
            for kind, step in steps.items()
        }
        _warm_up(timers)
        seconds = measure(timers, rounds)
        ours, stock = seconds.pop("LRD"), seconds.pop("stock")
        eager, wrapper = seconds.pop("eager"), seconds.pop("wrapper")
        for kind, other in seconds.items():
            goal = 0.05 if kind == "torch.bernoulli" else None
            note = "a draw for each tensor" if "Magma" in kind else "a loop over parameters"
            yield compare("masks", f"Adam+LRD / {kind}, {size}", goal, ours, other, note)
        for what, other in (
            ("Adam+LRD, eager step", eager),
            ("LearningRateDropout around fused Adam", wrapper),
        ):
            yield compare("masks", f"{what} / fused Adam, {size}", None, other, stock)
    yield recompilations()


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


def _peers(model: nn.Module) -> Iterator[tuple[str, Step]]:
    """Other packages that mask updates, where they are installed."""
    for module, package in PEERS:
        try:
            magma = importlib.import_module(module).Magma
        except ImportError as error:
            print(f"skipped: {package} ({error})", flush=True)
            continue
        name = f"{package} {importlib.metadata.version(package)} (Magma)"
        yield name, magma(torch.optim.Adam(random_parameters(model))).step


def recompilations() -> Result:
    """Compilations that 100 steps cause in which learning rate and keep_prob change each time."""
    params = random_parameters(fcnet())
    optimizer = lrd.Adam(params, compile=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    optimizer.step()
    counters.clear()
    for number in range(100):
        optimizer.param_groups[0]["keep_prob"] = 1 - number / 100
        optimizer.step()
        schedule.step()
    count = counters["stats"]["unique_graphs"] + counters["inductor"]["fxgraph_cache_miss"]
    what = "compilations in 100 steps of changing learning rate and keep_prob"
    return Result("masks", what, None, None, count, "compilations", 0, "torch's own counters")


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
        model = _Flat(count)
        repeat = max(1, 10**7 // count)
        timers = {
            "LRD": timed(lrd.Adam(random_parameters(model), compile=True).step, repeat),
            "stock": timed(torch.optim.Adam(random_parameters(model), fused=True).step, repeat),
        }
        _warm_up(timers)
        seconds = measure(timers, rounds)
        each = milliseconds(seconds["LRD"]) * 1e6 / count
        if 16 * count > cache:
            beyond.append(each)
        what = f"Adam+LRD / fused Adam, one tensor of {count:.0e} parameters"
        note = f"{each:.3g} ns a parameter"
        yield compare("growth", what, None, seconds["LRD"], seconds["stock"], note)
    value = max(beyond) / min(beyond)
    what = "time for each parameter past the cache: longest / shortest"
    note = f"sizes of more than {cache / 1e6:.0f} MB, up to 10^8 parameters"
    yield Result("growth", what, None, None, value, "", 1.5, note)
