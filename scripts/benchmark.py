"""Speed as ratios measured side by side in one run: `python -m scripts.benchmark`.

Alternates what is compared and takes medians over rounds. Writes results/benchmark.{csv,md}.
Needs MNIST (see data/mnist.py) and an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

import lrd
from models.fcnet import fcnet

MEAN, STD = 0.1307, 0.3081
BATCH = 128


class Result(NamedTuple):
    """One comparison: medians in milliseconds, and the median of the rounds' ratios."""

    what: str
    ours: float
    other: float
    ratio: float
    goal: float | None


def measure(timers: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each timer in each round: they take turns. Each has had its warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            seconds[name].append(timer())
    return seconds


def compare(what: str, goal: float | None, ours: list[float], other: list[float]) -> Result:
    """The medians, and the median of the rounds' ratios."""
    first, second = (statistics.median(column) * 1e3 for column in (ours, other))
    ratio = statistics.median(a / b for a, b in zip(ours, other, strict=True))
    result = Result(what, first, second, ratio, goal)
    print(row(result), flush=True)
    return result


def timed(function: Callable[[], object], repeat: int = 1) -> Callable[[], float]:
    """A timer of the mean of `repeat` calls."""

    def timer() -> float:
        begin = time.perf_counter()
        for _ in range(repeat):
            function()
        return (time.perf_counter() - begin) / repeat

    return timer


def runner_epoch(root: str, threads: int, *overrides: str) -> float:
    """Seconds that the runner's record gives for its second epoch, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "experiments.run", "experiment=mnist", "epochs=2",
            f"threads={threads}", f"data.root={root}", f"runs_dir={folder}", *overrides,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        (timing,) = Path(folder).rglob("timing.csv")
        return float(list(csv.DictReader(timing.open()))[-1]["seconds"])


def bare_epoch(images: Tensor, labels: Tensor) -> Callable[[], None]:
    """The shortest loop there is over tensors in memory, with torch's fused Adam."""
    model = fcnet()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def epoch() -> None:
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()

    return epoch


def usual_epoch(root: str) -> Callable[[], None]:
    """What most scripts do: DataLoader, transforms for each sample, torch's default Adam."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    loader = DataLoader(MNIST(root, transform=transform), BATCH, shuffle=True, num_workers=2)
    model = fcnet()
    optimizer = torch.optim.Adam(model.parameters())

    def epoch() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()

    return epoch


def epochs(root: str, threads: int, rounds: int) -> list[Result]:
    """An MNIST epoch of the runner against a bare loop and the usual one."""
    train = MNIST(root)
    images = ((train.data.float() / 255 - MEAN) / STD)[:, None]
    bare, usual = bare_epoch(images, train.targets), usual_epoch(root)
    bare()

    masked = ("lrd.enabled=true", "lrd.compile=true")
    runner_epoch(root, threads, *masked)  # compiles once; torch keeps the kernel on disk
    seconds = measure(
        {
            "runner": lambda: runner_epoch(root, threads),
            "bare": timed(bare),
            "runner, LRD": lambda: runner_epoch(root, threads, *masked),
            "usual": timed(usual),
        },
        rounds,
    )
    ours, name = seconds["runner"], "MNIST epoch, Adam"
    return [
        compare(f"{name}: runner / bare loop", 1.15, ours, seconds["bare"]),
        compare(f"{name}: runner / DataLoader loop", 0.4, ours, seconds["usual"]),
        compare(f"{name}, runner: with LRD / without", 1.03, seconds["runner, LRD"], ours),
    ]


RULES: dict[str, tuple[Callable[..., torch.optim.Optimizer], type, dict[str, object]]] = {
    "SGDM": (torch.optim.SGD, lrd.SGD, {"lr": 0.1, "momentum": 0.9}),
    "RMSprop": (torch.optim.RMSprop, lrd.RMSprop, {"lr": 1e-3}),
    "Adam": (torch.optim.Adam, lrd.Adam, {}),
    "AMSGrad": (torch.optim.Adam, lrd.Adam, {"amsgrad": True}),
    "AdamW": (torch.optim.AdamW, lrd.AdamW, {}),
    "RAdam": (torch.optim.RAdam, lrd.RAdam, {}),
}


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """Copies of a model's parameters, with random gradients."""
    params = [nn.Parameter(param.detach().clone()) for param in model.parameters()]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def bernoulli_step(params: list[nn.Parameter]) -> Callable[[], None]:
    """The plain implementation: torch's default Adam, and a Bernoulli mask drawn per parameter."""
    optimizer = torch.optim.Adam(params)

    def step() -> None:
        before = [param.detach().clone() for param in params]
        optimizer.step()
        with torch.no_grad():
            for param, old in zip(params, before, strict=True):
                mask = torch.bernoulli(torch.full_like(param, 0.5))
                param.copy_(old + mask * (param - old))

    return step


def steps(rounds: int) -> list[Result]:
    """A fused LRD step against torch's fastest without LRD, and against the plain mask."""
    model, repeat, results = fcnet(), 20, []
    for name, (base, ours, settings) in RULES.items():
        fastest = "foreach" if name in ("RMSprop", "RAdam") else "fused"
        stock = base(parameters(model), **settings, **{fastest: True})
        masked = ours(parameters(model), **settings, compile=True)
        timers = {"LRD": timed(masked.step, repeat), "stock": timed(stock.step, repeat)}
        if name == "Adam":
            timers["plain"] = timed(bernoulli_step(parameters(model)))
        for timer in timers.values():
            timer()
        seconds = measure(timers, rounds)
        what = f"step of FCNet's 1.8 M parameters: {name}+LRD /"
        results.append(
            compare(f"{what} torch's {name}, {fastest}", 1.25, seconds["LRD"], seconds["stock"])
        )
        if name == "Adam":
            what = f"{what} with torch.bernoulli masks"
            results.append(compare(what, 0.05, seconds["LRD"], seconds["plain"]))
    return results


def row(result: Result) -> str:
    goal = "" if result.goal is None else f"{result.goal:g}"
    met = "" if result.goal is None else ("yes" if result.ratio <= result.goal else "**no**")
    return (
        f"| {result.what} | {result.ours:.4g} | {result.other:.4g} | {result.ratio:.3f} "
        f"| {goal} | {met} |"
    )


def write(results: list[Result], out: Path, conditions: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    head = (
        "| what | ours, ms | other, ms | ratio | goal, at most | met |\n|---|---|---|---|---|---|"
    )
    table = "\n".join(row(result) for result in results)
    (out / "benchmark.md").write_text(f"# Benchmark\n\n{conditions}\n\n{head}\n{table}\n")
    with (out / "benchmark.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Result._fields)
        writer.writerows(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("LRD_DATA", "data/raw"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["steps", "epochs"], help="one part instead of both")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = [] if options.only == "epochs" else steps(options.rounds)
    if options.only != "steps":
        results += epochs(options.root, options.threads, options.rounds)
    write(
        results,
        options.out,
        f"Medians of {options.rounds} alternating rounds, {options.threads} threads, fp32, "
        f"{platform.machine()} with {os.cpu_count()} cores, torch {torch.__version__}. "
        "Ratios are the medians of the rounds' ratios. The runner flushes denormal numbers to "
        "zero; the loops that it is compared with leave them as torch does.",
    )


if __name__ == "__main__":
    main()
