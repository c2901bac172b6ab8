"""Benchmarks that want a process of their own: memory, and the first step's compilation.

As a command it is such a process: `python -m scripts.benchmark.process memory|first <optimizer>`
prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import lrd
from models.resnet import resnet34
from scripts.benchmark.measure import FAST, Result, random_parameters, timed


def memory(threads: int) -> Iterator[Result]:
    """Bytes of state, and the peak of memory during a step, of Adam with and without LRD."""
    masked, plain = (_run("memory", name, threads) for name in ("lrd", "torch"))
    extra = (masked["state"] - plain["state"]) / masked["parameters"]
    what, unit = "state of Adam+LRD beyond fused Adam's, 21 M parameters", "bytes a parameter"
    yield Result("memory", what, value=extra, unit=unit, goal=0, note="optimizer.state")
    ratio = masked["peak"] / plain["peak"]
    note = (
        f"{masked['peak'] / 1e6:.1f} and {plain['peak'] / 1e6:.1f} MB: parameters, gradients, "
        "state, and what a step adds to the process's resident memory (VmHWM)"
    )
    what = "peak memory during a step, Adam+LRD / fused Adam, 21 M parameters"
    yield Result("memory", what, value=ratio, goal=1.01, note=note)


def compilation(threads: int, rounds: int) -> Iterator[Result]:
    """Seconds of the first step of Adam+LRD over ResNet-34's parameters in a fresh process."""
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_run("first", "lrd", threads, cache))
            warm.append(_run("first", "lrd", threads, cache))
    what = "first step of Adam+LRD, ResNet-34's parameters, fresh process"
    for name, seconds, goal in (("empty cache", cold, 1.5), ("filled cache", warm, 0.3)):
        note = f"rounds: {', '.join(f'{second:.1f}' for second in seconds)} s"
        value = statistics.median(seconds)
        yield Result("compile", f"{what}, {name}", value=value, unit="s", goal=goal, note=note)


def _run(what: str, optimizer: str, threads: int, cache: str | None = None) -> Any:
    command = [sys.executable, "-m", "scripts.benchmark.process", what, optimizer, str(threads)]
    caches = {"XDG_CACHE_HOME": cache} if cache else {}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, **caches}, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def step_memory(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Bytes of an optimizer's tensors, and at the peak of its third step."""
    params = optimizer.param_groups[0]["params"]
    optimizer.step()
    optimizer.step()
    state = sum(
        value.numel() * value.element_size()
        for values in optimizer.state.values()
        for value in values.values()
        if isinstance(value, torch.Tensor)
    )
    numbers = sum(param.numel() for param in params)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    optimizer.step()
    rise = _resident("VmHWM") - before
    peak = 8 * numbers + state + rise  # float32 parameters and gradients
    return {"parameters": numbers, "state": state, "peak": peak}


def _resident(name: str) -> int:
    (kilobytes,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["memory", "first"])
    parser.add_argument("optimizer", choices=["lrd", "torch"])
    parser.add_argument("threads", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = random_parameters(resnet34())
    if options.optimizer == "lrd":
        optimizer: torch.optim.Optimizer = lrd.Adam(params, **FAST)
    else:
        optimizer = torch.optim.Adam(params, fused=True)
    # torch's tracer is loaded by now: constructing any of torch's optimizers imports it
    measured = step_memory(optimizer) if options.what == "memory" else timed(optimizer.step)()
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
