"""What this machine's GPU does: `python -m scripts.benchmark.gpu`, or `make gpu-check`.

Runs tests/gpu, times the step of each rule, and training with the nets and batches of the paper's
experiments at its scale, in each precision, on random images. Each line is written to
results/gpu.csv and gpu.md as soon as it is measured; what was measured on this kind of GPU with
this torch is not measured again. Ends with status 1 if something failed or the time was not enough.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.configuration import Config
from experiments.loop import make_step
from experiments.precision import PRECISIONS, arithmetic
from experiments.record import atomic
from experiments.record.machine import environment
from experiments.schedule import scheduler
from experiments.setting import Setting, build, make_optimizer, net_node
from experiments.tasks import task_module
from scripts.benchmark.measure import FAST, compare, race, random_parameters, timed
from scripts.benchmark.step import RULES, SIZES
from scripts.plan import configurations, from_scratch
from scripts.tables.formats import pipes, plain

EXPERIMENTS = ("mnist", "cifar10", "cifar100", "pspnet", "ssd")
_TESTS_TAKE = 260  # seconds, at most; a line of training 60
_PIXELS = {"mnist": (1, 28), "cifar10": (3, 32), "cifar100": (3, 32)}


class Line(NamedTuple):
    """A line of the table. A failure has no value, and is tried again."""

    what: str
    value: float | None
    unit: str
    note: str
    device: str
    torch: str


def training(experiment: str, precision: str, device: torch.device, **changes: Any) -> float:
    """Images a second of the runner's training step, with Adam and learning rate dropout."""
    words = [f"experiment={experiment}", f"precision={precision}", "lrd.enabled=true"]
    config = from_scratch(configurations(None, words)[0] | changes)
    with arithmetic(config):
        model = build(net_node(config)).to(device)
        optimizer = make_optimizer(config, model)
        schedule = scheduler(config["schedule"], optimizer, 1000, config["epochs"])
        task = task_module(config["task"])
        step = make_step(config, Setting(device, task, None, None, {}, model, optimizer, schedule))
        batch, count = _batch(config, device), config["batch_size"]
        numbers = iter(range(10**9))
        train = timed(lambda: step(batch, next(numbers), count), 10)
        train()
        return count / min(train() for _ in range(3))


def _batch(config: Config, device: torch.device) -> Any:
    """Random images of an experiment, with random labels, masks or boxes."""
    count, classes = config["batch_size"], config["model"]["num_classes"]
    size = config["data"].get("crop") or config["data"].get("size")
    channels, side = _PIXELS.get(config["experiment"], (3, size))
    images = torch.rand(count, channels, side, side, device=device)

    def labels(*shape: int) -> Tensor:
        return torch.randint(classes, shape, device=device)

    if config["task"] == "classification":
        return images, labels(count)
    if config["task"] == "segmentation":
        return images, labels(count, side, side)
    corners = torch.rand(count, 4, 2, device=device) * side / 2
    boxes = torch.cat([corners, corners + side / 3], dim=2)
    return images, [{"boxes": box, "labels": 1 + labels(4)} for box in boxes]


def steps(rule: str, size: int) -> tuple[float, str, str]:
    """A step with LRD over torch's fastest of the rule."""
    base, masked, settings, _, fused = RULES[rule]
    model = SIZES[size].net().to("cuda")
    kinds = {"LRD": masked(random_parameters(model), **settings, **FAST)}
    for kind in ("foreach", "fused") if fused else ("foreach",):
        kinds[kind] = base(random_parameters(model), **settings, **{kind: True})
    seconds = race({kind: timed(each.step, 20) for kind, each in kinds.items()}, 10)
    ours = seconds.pop("LRD")
    fastest = min(seconds, key=lambda kind: sum(seconds[kind]))
    result = compare("step", rule, fastest, ours, seconds[fastest])
    return result.value, f"of torch's, {fastest}", f"{result.ours:.3g} and {result.other:.3g} ms"


def tests(seconds: float) -> tuple[float | None, str, str]:
    """Seconds of tests/gpu, and pytest's last line."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=seconds)
    print(done.stdout[-5000:], done.stderr[-2000:], flush=True)
    note = (done.stdout.strip().splitlines() or ["no output"])[-1]
    passed = done.returncode == 0 and "passed" in note
    return (time.perf_counter() - begin if passed else None), "s", note


def in_a_process(experiment: str, precision: str, seconds: float) -> tuple[float, str, str]:
    """`training` in a process of its own, so that none has another's memory or switches."""
    command = [sys.executable, "-m", "scripts.benchmark.gpu", "--training", experiment, precision]
    done = subprocess.run(command, text=True, capture_output=True, timeout=seconds)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.splitlines()[-1]), "images/s", ""


def measurements(left: Callable[[], float]) -> dict[str, Callable[[], tuple[Any, str, str]]]:
    """What is measured, by name; `left` says how many seconds there are."""
    parts: dict[str, Callable[[], tuple[Any, str, str]]] = {
        "tests/gpu": lambda: tests(min(_TESTS_TAKE, left()))
    }
    for experiment in EXPERIMENTS:
        for precision in PRECISIONS:
            parts[f"{experiment}, {precision}: training"] = lambda words=(experiment, precision): (
                in_a_process(*words, min(60, left()))
            )
    for number, size in enumerate(SIZES):
        for rule in RULES:
            parts[f"{rule}+LRD, {size.name}: step"] = lambda words=(rule, number): steps(*words)
    return parts


def write(lines: list[Line], out: Path) -> None:
    """Write gpu.csv and gpu.md."""
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows([Line._fields, *lines])
    cells = [
        [plain(what), "**failed**" if value is None else f"{value:.3g} {unit}", *map(plain, more)]
        for what, value, unit, *more in lines
    ]
    table = pipes(["what", "measured", "more", "GPU", "torch"], cells)
    atomic.write(out / "gpu.csv", rows.getvalue().encode())
    atomic.write(out / "gpu.md", f"# On a GPU\n\n{table}\n".encode())


def read(out: Path) -> list[Line]:
    if not (out / "gpu.csv").exists():
        return []
    with (out / "gpu.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [Line(**{**row, "value": float(row["value"]) if row["value"] else None}) for row in rows]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--training", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU here, which is what this is to check")
    if options.training:
        print(json.dumps(training(*options.training, torch.device("cuda"))))
        return
    sys.exit(check(options.out, options.minutes * 60))


def check(out: Path, seconds: float) -> int:
    """Measure what is missing in the table; the exit status."""
    end, machine = time.monotonic() + seconds, environment(torch.device("cuda"))
    where = machine["device"], str(machine["versions"]["torch"])
    print(*where, machine["gpu"], flush=True)
    lines, missing = read(out), 0

    def left() -> float:
        return end - time.monotonic()

    wanted = measurements(left)
    for what, measurement in wanted.items():
        old = [line for line in lines if line.what == what and line[-2:] == where]
        if any(line.value is not None for line in old):
            continue
        if left() < 5:
            missing += 1
            continue
        try:
            measured = measurement()
        except Exception as error:  # of one line, which leaves the others to go on
            measured = None, "", f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
        lines = [line for line in lines if line not in old] + [Line(what, *measured, *where)]
        write(lines, out)
        print(lines[-1], flush=True)
    if missing:
        print(f"{missing} lines are missing: the same command goes on with them", flush=True)
    mine = [line for line in lines if line[-2:] == where and line.what in wanted]
    return int(missing > 0 or any(line.value is None for line in mine))


if __name__ == "__main__":
    main()
