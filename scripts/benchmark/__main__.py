"""Speed side by side in one run: `python -m scripts.benchmark`.

Alternates what is compared and takes medians over rounds. Writes results/benchmark.{csv,md,png},
with `--only step` benchmark-step.
Needs MNIST (see data/mnist.py), a C++ compiler, Linux for the memory, and an idle machine. Other
packages that mask (pytorch_optimizer, magma-optimizer) are measured where they are installed.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from data.batches import DataError
from data.mnist import mnist
from experiments.record import atomic
from experiments.record.machine import environment
from scripts.benchmark import epoch, process, records, step
from scripts.benchmark.figure import draw
from scripts.benchmark.measure import Result

HEAD = "| what | ours, ms | other, ms | measured | goal, at most | met | more |"
IDLE = 0.5  # processes that want a core, on average over the last minute, at most
EPOCH_ROUNDS = 3  # an epoch's round takes over a minute
BY_ROUND = {"step": step.steps, "masks": step.masks, "family": step.family, "growth": step.growth}
TITLES = {
    "step": "One step with LRD over the fastest that torch has without",
    "masks": "Other ways to mask, and the eager step",
    "family": "Rules around an optimizer (lrd.MaskedUpdate) over its own step",
    "growth": "Growth with the number of parameters",
    "memory": "Memory",
    "compile": "Compilation",
    "epoch": "Training",
    "records": "Many run folders",
}


def results_of(part: str, root: str, threads: int, rounds: int) -> Iterator[Result]:
    """The rows of one part, as they are measured."""
    few = min(rounds, EPOCH_ROUNDS)
    if part in BY_ROUND:
        yield from BY_ROUND[part](rounds)
    elif part == "memory":
        yield from process.memory(threads)
    elif part == "compile":
        yield from process.compilation(threads, few)
    elif part == "records":
        yield from records.records()
    else:
        yield from epoch.epochs(root, threads, few)
        yield from epoch.resnet_steps(few)
        yield epoch.checkpoints(root, threads)


def row(result: Result) -> str:
    """A line of the Markdown table."""
    times = ["" if time is None else f"{time:.4g}" for time in (result.ours, result.other)]
    goal = "" if result.goal is None else f"{result.goal:g}"
    value = f"{result.value:.3g} {result.unit}".strip()
    met = result.met.replace("no", "**no**")
    return "| " + " | ".join([result.what, *times, value, goal, met, result.note]) + " |"


def write(results: list[Result], out: Path, conditions: str, name: str = "benchmark") -> None:
    """Write <name>.csv, .md and .png, the table by parts."""
    text = [f"# Benchmark\n\n{conditions}\n\n![Ratios]({name}.png)\n"]
    for part, title in TITLES.items():
        lines = [row(result) for result in results if result.part == part]
        if lines:
            text.append("\n".join([f"## {title}\n", HEAD, "|---" * 7 + "|", *lines, ""]))
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow([*Result._fields, "met"])
    for result in results:
        ratios = " ".join(f"{ratio:.4f}" for ratio in result.ratios)
        writer.writerow([*result._replace(ratios=ratios), result.met])
    atomic.write(out / f"{name}.md", "\n".join(text).encode())
    atomic.write(out / f"{name}.csv", rows.getvalue().encode())
    draw(results, out / name)


def conditions(threads: int, rounds: int) -> str:
    """What was measured where, for the head of the table."""
    machine = environment(torch.device("cpu"))
    return (
        f"Medians of {rounds} alternating rounds (training and compilation: "
        f"{min(rounds, EPOCH_ROUNDS)}), {threads} threads on {os.cpu_count()} cores of "
        f"{machine['cpu']} ({torch.backends.cpu.get_cpu_capability()}), torch "
        f"{machine['versions']['torch']}, Python {machine['versions']['python']}, float32 unless "
        "it says otherwise. Ratios are the medians of the rounds' ratios. The limit of a step is "
        "what it must read and write over the bandwidth that a ← a + s b reached in the same run. "
        "The runner flushes denormal numbers to zero; what it is compared with leaves them as "
        "torch does."
    )


def check_idle() -> None:
    """End the command on a machine that does something else: its times would be of both."""
    load = os.getloadavg()[0]
    if load > IDLE:
        sys.exit(
            f"error: the machine is busy: load average {load:.1f}, idle is at most {IDLE}. End "
            "what runs beside and wait a minute, or measure all the same with --busy"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("LRD_DATA", "data/raw"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=TITLES, nargs="+", default=[*TITLES])
    parser.add_argument("--busy", action="store_true", help="measure on a machine that is not idle")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    if not options.busy:
        check_idle()
    torch.set_num_threads(options.threads)
    if "epoch" in options.only:
        try:
            mnist(options.root, subset=1)  # before what takes minutes and would be lost
        except DataError as error:
            sys.exit(f"error: {error}. Or leave the epochs out, with --only")
    results = []
    for part in options.only:
        for result in results_of(part, options.root, options.threads, options.rounds):
            print(row(result), flush=True)
            results.append(result)
    # what the report takes for the benchmark has all parts, of one run
    name = "benchmark" if {*options.only} == {*TITLES} else "-".join(["benchmark", *options.only])
    write(results, options.out, conditions(options.threads, options.rounds), name)


if __name__ == "__main__":
    main()
