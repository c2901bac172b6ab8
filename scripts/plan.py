"""What a sweep would take: `python -m scripts.plan table2 --scale paper --seeds 0,1,2`.

Lists the sweep's runs, which of them are done, and the time and memory that the others would take
on this machine, from a few training steps on random images for each kind of net and optimizer. No
run is started and nothing is written. With `--limit HOURS`, the exit status is 1 if more
remains and there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from data.batches import DataError
from experiments import identity
from experiments.configuration import ConfigError
from experiments.record.reader import RecordError
from experiments.record.writer import is_finished
from experiments.setting import autocast, build, make_optimizer
from experiments.validate import check

CONF = str(Path(__file__).parent.parent / "conf")
_SIZES = {  # training and test images, and the shape of one, where all are held in memory
    "data.mnist.mnist": (60_000, 10_000, (1, 28, 28)),
    "data.digits.digits": (4_000, 1_000, (1, 28, 28)),
    "data.cifar.cifar10": (50_000, 10_000, (3, 32, 32)),
    "data.cifar.cifar100": (50_000, 10_000, (3, 32, 32)),
}
_NET = ("model", "task", "batch_size", "precision", "channels_last", "threads", "regularizer.p_sd")
_FORWARD = 1 / 3  # of a training step's time, for each evaluated batch


class Cost(NamedTuple):
    """Seconds of forward and backward pass and of each optimizer's step; peak bytes of memory."""

    net: float
    steps: dict[str, float]
    memory: int


def configurations(sweep: str, overrides: list[str]) -> list[identity.Config]:
    """What `experiments.run +sweep=<sweep> <overrides>` would run, by the sweep's own file."""
    parser = OverridesParser.create()
    with initialize_config_dir(CONF, version_base="1.3"):
        whole = compose("config", [f"+sweep={sweep}"], return_hydra_config=True)
        words = [f"{key}={value}" for key, value in whole.hydra.sweeper.params.items()]
        choices: dict[str, list[str]] = {}  # as Hydra's own sweeper: later ones replace
        for override in parser.parse_overrides([*words, *overrides]):
            key = override.get_key_element()
            values = (
                override.sweep_string_iterator()
                if override.is_sweep_override()
                else [override.get_value_element_as_str()]
            )
            choices[key] = [f"{key}={value}" for value in values]
        return [
            OmegaConf.to_container(compose("config", list(each)), resolve=True)  # type: ignore
            for each in product(*choices.values())
        ]


def net_kind(config: identity.Config) -> str:
    """Runs of one kind have the same forward and backward pass."""
    flat = identity.flatten(config)
    shape = {key: value for key, value in flat.items() if key.startswith(_NET)}
    shape |= {key: flat.get(key) for key in ("data._target_", "data.crop", "data.size")}
    return json.dumps(shape, sort_keys=True)


def optimizer_kind(config: identity.Config) -> str:
    """Runs of one kind have the same optimizer's step."""
    return f"{config['optimizer']['name']}{'+lrd' if identity.masked(config) else ''}"


def sizes(config: identity.Config) -> tuple[int, int]:
    """Training and test images; of VOC by its lists. Raises DataError where there are none."""
    data = config["data"]
    if "steps" in data:  # of a task without data
        return data["steps"] * config["batch_size"], 0
    if data["_target_"] not in _SIZES:
        provenance = build(data).provenance
        return provenance["train"], provenance["test"]
    train, test, _ = _SIZES[data["_target_"]]
    return data["subset"] or train, data["test_subset"] or test


def random_batch(config: identity.Config) -> tuple[Any, Any]:
    """Images and targets of the shapes that the task gets, of nothing in particular."""
    if config["task"] == "toy":
        return None, None
    count, data, classes = config["batch_size"], config["data"], config["model"]["num_classes"]
    if config["task"] == "segmentation":
        side = data["crop"]
        return torch.randn(count, 3, side, side), torch.zeros(count, side, side, dtype=torch.long)
    if config["task"] == "detection":
        side = data["size"]
        box = torch.tensor([[side / 4, side / 4, side / 2, side / 2]])
        targets = [{"boxes": box, "labels": torch.ones(1, dtype=torch.long)} for _ in range(count)]
        return torch.randn(count, 3, side, side), targets
    shape = _SIZES[data["_target_"]][2]
    return torch.randn(count, *shape), torch.arange(count) % classes


def timed(function: Callable[[], object]) -> float:
    """Seconds of a call: the least of some after the first."""
    seconds = []
    while len(seconds) < 2 or (sum(seconds) < 1 and len(seconds) < 10):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def calibrate(configs: list[identity.Config]) -> Cost:
    """Measure runs of one kind of net in this process; masks by the eager step."""
    config = configs[0]
    torch.set_num_threads(config["threads"])
    p_sd = config["regularizer"]["p_sd"]
    settings = {**config["model"], **({} if p_sd == 1 else {"p_sd": p_sd})}
    if "encoder_weights" in settings:
        settings |= {"encoder_weights": None, "weights_file": None}  # the same net, not pretrained
    net, (images, targets) = build(settings), random_batch(config)
    if config["channels_last"]:
        images = images.contiguous(memory_format=torch.channels_last)
    task = importlib.import_module(f"experiments.tasks.{config['task']}")

    def train() -> None:
        net.zero_grad()
        with autocast(config, torch.device("cpu")):
            loss, _ = task.loss(net, (images, targets))
        loss.backward()

    seconds, steps = timed(train), {}
    for each in configs:
        each = {**each, "lrd": {**each["lrd"], "compile": False}}
        steps[optimizer_kind(each)] = timed(make_optimizer(each, net).step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(seconds, steps, peak + _bytes_of_data(config))


def _bytes_of_data(config: identity.Config) -> int:
    target = config["data"].get("_target_")
    if target not in _SIZES:
        return 0
    shape = _SIZES[target][2]
    return sum(sizes(config)) * math.prod(shape) * (1 if "cifar" in target else 4)


def measure(configs: list[identity.Config]) -> Cost:
    """`calibrate` in a process of its own, whose peak of memory is that of nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.plan", "--calibrate"],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        cwd=Path(CONF).parent,
    )
    if done.returncode:
        raise RuntimeError(f"the calibration failed:\n{done.stderr[-2000:]}")
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def hours(config: identity.Config, cost: Cost) -> float:
    """Estimated hours of a run."""
    train, test = sizes(config)
    steps = -(-train // config["batch_size"])
    step = cost.net + cost.steps[optimizer_kind(config)]
    evaluation = test / config["batch_size"] * cost.net * _FORWARD
    return config["epochs"] * (steps * step + evaluation) / 3600


def lines(configs: list[identity.Config]) -> Iterator[tuple[str, float]]:
    """A line for each run, in the order of the sweep, with the hours that it would take."""
    done = [is_finished(config) for config in configs]
    missing = [config for config, there in zip(configs, done, strict=True) if not there]
    kinds: dict[str, dict[str, identity.Config]] = {}
    for config in missing:
        kinds.setdefault(net_kind(config), {})[optimizer_kind(config)] = config
    costs = {kind: measure(list(found.values())) for kind, found in kinds.items()}
    for config, there in zip(configs, done, strict=True):
        name = "/".join(identity.run_folder(config).parts[-3:])
        if there:
            yield f"{name}: done", 0.0
            continue
        cost = costs[net_kind(config)]
        try:
            took = hours(config, cost)
        except DataError as error:
            yield f"{name}: time unknown, {str(error).splitlines()[0]}", 0.0
            continue
        yield f"{name}: about {took:.2g} h, {cost.memory / 2**30:.1f} GiB", took


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", nargs="?", help="a file of conf/sweep")
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    parser.add_argument("--limit", type=float, help="hours; exit status 1 if more remain")
    parser.add_argument("--calibrate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="as of experiments.run: experiment=mnist")
    options = parser.parse_intermixed_args(arguments)
    if options.calibrate:
        print(json.dumps(calibrate(json.load(sys.stdin))))
        return
    if options.limit is not None and torch.cuda.is_available():
        print("The plan is left out: it would be this machine's CPU's, and there is a GPU.")
        return
    given = [f"scale={options.scale}", f"seed={options.seeds}", *options.overrides]
    try:
        configs = configurations(options.sweep, given)
        for config in configs:
            check(config)
        total, runs = 0.0, list(lines(configs))
    except (HydraException, ConfigError, RecordError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    for line, took in runs:
        print(line)
        total += took
    ready = sum(line.endswith(": done") for line, _ in runs)
    print(
        f"{len(runs)} runs, {ready} done. What remains takes about {total:.2g} hours on this "
        "machine, one run after another (an estimate from single training steps)."
    )
    if options.limit is not None and total > options.limit:
        sys.exit(1)


if __name__ == "__main__":
    main()
