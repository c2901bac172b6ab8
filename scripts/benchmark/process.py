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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import calculate_time_spent

import lrd
from models.resnet import resnet34
from scripts.benchmark.measure import FAST, Result, random_parameters


def memory(threads: int) -> Iterator[Result]:
    """Bytes of state, and the peak of memory during a step, of Adam with and without LRD."""
    masked, plain = (_run("memory", name, threads) for name in ("lrd", "torch"))
    extra = (masked["state"] - plain["state"]) / masked["parameters"]
    what, unit = "state of Adam+LRD beyond fused Adam's, 21 M parameters", "bytes a parameter"
    yield Result("memory", what, value=extra, unit=unit, goal=0, note="optimizer.state")
    ratio = masked["peak"] / plain["peak"]
    note = (
        f"{masked['peak'] / 1e6:.1f} and {plain['peak'] / 1e6:.1f} MB: parameters, gradients, "
        "state, and what a step adds to the process's resident memory (VmHWM); the loaded "
        f"compiler is not in it, {(masked['resident'] - plain['resident']) / 1e6:.0f} MB"
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
    for name, times, goal in (("empty cache", cold, 15.0), ("torch's cache", warm, 3.0)):
        rounds_text = ", ".join(f"{time['seconds']:.1f}" for time in times)
        median = {kind: statistics.median(time[kind] for time in times) for kind in times[0]}
        note = (
            f"rounds: {rounds_text} s; of it torch's tracer {median['tracer']:.1f} s, its compiler "
            f"{median['compiler']:.1f} s, imports and the rest {median['rest']:.1f} s"
        )
        value = median["seconds"]
        yield Result("compile", f"{what}, {name}", value=value, unit="s", goal=goal, note=note)


def _run(what: str, optimizer: str, threads: int, cache: str | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.benchmark.process", what, optimizer, str(threads)]
    environment = {**os.environ, **({"TORCHINDUCTOR_CACHE_DIR": cache} if cache else {})}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def first_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Seconds of a process's first step, with all compilations, and of its parts.

    torch's tracer is loaded before: constructing any of torch's optimizers imports it.
    """
    begin = time.perf_counter()
    optimizer.step()
    seconds = time.perf_counter() - begin
    spent = calculate_time_spent()
    whole, compiler = spent["entire_frame_compile"], spent["backend_compile"]
    return {
        "seconds": seconds,
        "tracer": whole - compiler,
        "compiler": compiler,
        "rest": seconds - whole,
    }


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
    return {"parameters": numbers, "state": state, "peak": peak, "resident": before}


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
    measured = step_memory if options.what == "memory" else first_step
    print(json.dumps(measured(optimizer)))


if __name__ == "__main__":
    main()
