"""What a sweep would take: `python -m scripts.plan table2 --scale paper --seeds 0,1,2`.

Lists the sweep's runs, which of them are done, and the time and memory that the others would take
on this machine: from a few training steps on a batch of their own data, for each kind of net and
optimizer, on the GPU if it has one. No run is started and nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from data.batches import DataError
from experiments.choice import NoChoice
from experiments.configuration import CONF, Config, ConfigError, flatten, is_evaluated
from experiments.identity import place_of, run_folder
from experiments.loop import channels_last
from experiments.methods import masked
from experiments.precision import arithmetic, autocast
from experiments.record.reader import RecordError
from experiments.record.writer import is_finished
from experiments.setting import make_optimizer, prepare
from experiments.validate import resolve
from scripts.benchmark.measure import timed
from scripts.item import ResultError
from scripts.items import items_of, sweeps_of

_NET = (
    "model.", "task", "data.", "batch_size", "precision", "deterministic", "channels_last",
    "threads", "regularizer.p_sd", "device", "epochs", "evaluate_every",
)  # fmt: skip
_EVALUATION = 1 / 3  # of a training step's time, for as many samples
# Addresses at which nobody answers: what is not on this machine is not downloaded for a plan
_OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy"), "http://127.0.0.1:9")


class PlanError(RuntimeError):
    """A sweep that cannot be planned; the message says why."""


class Cost(NamedTuple):
    """Of runs of one kind: seconds of an epoch by kind of optimizer, peak bytes of memory."""

    epoch: dict[str, float]
    memory: int


class Planned(NamedTuple):
    """A run of a sweep, and what is known of it. Hours are None where nobody can tell."""

    name: str
    done: bool
    hours: float | None
    note: str = ""  # its memory, or why its time is unknown

    def known(self) -> float:
        """Its hours. Raises PlanError where nobody can tell."""
        if self.hours is None:
            raise PlanError(str(self))
        return self.hours

    def __str__(self) -> str:
        if self.done:
            return f"{self.name}: done"
        if self.hours is None:
            return f"{self.name}: time unknown: {self.note}"
        return f"{self.name}: about {plain(self.hours)} h, {self.note}"


def configurations(sweep: str | None, overrides: list[str]) -> list[Config]:
    """The configurations of a sweep's jobs."""
    return [*jobs(sweep, overrides).values()]


def jobs(sweep: str | None, overrides: list[str]) -> dict[tuple[str, ...], Config]:
    """What `experiments.run +sweep=<sweep> <overrides>` would run, by the words of each run.

    Without a sweep it is what the overrides alone would run.
    """
    parser = OverridesParser.create()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = []
        if sweep is not None:
            whole = compose("config", [f"+sweep={sweep}"], return_hydra_config=True)
            words = [f"{key}={value}" for key, value in whole.hydra.sweeper.params.items()]
        given = parser.parse_overrides([*words, *overrides])
        (batch,) = BasicSweeper.split_arguments(given, None)
        return {
            tuple(job): OmegaConf.to_container(compose("config", job), resolve=True)  # type: ignore
            for job in batch
        }


def net_kind(config: Config) -> str:
    """Runs of one kind have the same batches and the same forward and backward pass."""
    flat = flatten(config)
    shape = {key: value for key, value in flat.items() if key.startswith(_NET)}
    return json.dumps(shape, sort_keys=True)


def optimizer_kind(config: Config) -> str:
    """Runs of one kind have the same optimizer's step."""
    rules = "".join(f"+{key}" for key, on in config["update"].items() if on)
    return f"{config['optimizer']['name']}{'+lrd' if masked(config) else ''}{rules}"


def from_scratch(config: Config) -> Config:
    """A configuration whose net is not pretrained."""
    weights = config["model"].keys() & {"encoder_weights", "weights_file"}
    return {**config, "model": config["model"] | dict.fromkeys(weights)}


def calibrate(configs: list[Config]) -> Cost:
    """Measure runs of one kind of net in this process.

    Raises DataError where their data is not there.
    """
    config = from_scratch(configs[0])
    torch.set_num_threads(config["threads"])
    with arithmetic(config):
        return _measured(config, configs)


def _measured(config: Config, configs: list[Config]) -> Cost:
    device, task, train, _, provenance, net, *_ = prepare(config)
    batch = next(iter(train.epoch(*(torch.Generator().manual_seed(seed) for seed in (0, 1)))))
    if config["channels_last"]:
        net.register_forward_pre_hook(channels_last)

    def propagate() -> None:
        net.zero_grad()
        with autocast(config, device):
            loss, _ = task.loss(net, batch)
        loss.backward()

    step, epoch = _least(propagate), {}
    evaluated = sum(is_evaluated(config, epoch + 1) for epoch in range(config["epochs"]))
    tested = provenance["test"] / config["batch_size"] * _EVALUATION * evaluated / config["epochs"]
    for alike in configs:
        update = _least(make_optimizer(alike, net).step)
        epoch[optimizer_kind(alike)] = len(train) * (step + update) + tested * step
    on_gpu = device.type == "cuda"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(epoch, torch.cuda.max_memory_allocated(device) if on_gpu else peak)


def _least(function: Callable[[], object]) -> float:
    """Seconds of a call, to the end of what it has a GPU do: the least of some after the first."""
    timer, seconds = timed(function), []
    while len(seconds) < 2 or (sum(seconds) < 1 and len(seconds) < 10):
        seconds.append(timer())
    return min(seconds[1:])


def measure(configs: list[Config], download: bool = False) -> Cost | str:
    """`calibrate` in a process of its own, whose peak of memory is that of nothing else.

    Returns the first line of the DataError where their data is not there. Raises PlanError.
    """
    done = subprocess.run(
        [sys.executable, "-m", "scripts.plan", "--calibrate"],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        cwd=CONF.parent,
        env={**os.environ, **({} if download else _OFFLINE)},
    )
    if done.returncode:
        raise PlanError(f"the calibration failed:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer if isinstance(answer, str) else Cost(*answer)


def states(
    sweep: str | None, scale: str, seeds: str, overrides: list[str]
) -> list[tuple[Config, bool]]:
    """Takes a sweep as its command has it, returns its configurations and which are done.

    Raises PlanError for what the command would refuse.
    """
    try:
        words = [f"scale={scale}", f"seed={seeds}", *overrides]
        return [_state(config) for config in configurations(sweep, words)]
    except (HydraException, ConfigError, RecordError) as error:
        raise PlanError(str(error)) from error


def _state(config: Config) -> tuple[Config, bool]:
    """A run's configuration and whether it is done, which needs its rate to have been chosen."""
    try:
        resolved = resolve(config)
    except NoChoice:
        return config | {"lrd": config["lrd"] | {"compile": False}}, False
    return resolved, is_finished(resolved)


def runs_of(
    sweep: str | None, scale: str, seeds: str, overrides: list[str], download: bool = False
) -> Iterator[Planned]:
    """Takes a sweep as its command has it, returns its runs in their order. Raises PlanError."""
    runs = states(sweep, scale, seeds, overrides)
    kinds: dict[str, dict[str, Config]] = {}
    for config, done in runs:
        if not done:
            kinds.setdefault(net_kind(config), {})[optimizer_kind(config)] = config
    costs = {kind: measure([*alike.values()], download) for kind, alike in kinds.items()}
    for config, done in runs:
        name = place_of(run_folder(config))
        if done:
            yield Planned(name, True, 0.0)
        elif isinstance(cost := costs[net_kind(config)], str):
            yield Planned(name, False, None, cost)
        else:
            took = config["epochs"] * cost.epoch[optimizer_kind(config)] / 3600
            yield Planned(name, False, took, f"{cost.memory / 2**30:.1f} GiB")


def plain(hours: float) -> str:
    """Two digits, as people write a number: `0.034`, `7.9`, `160`."""
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.2g}"


def summary(runs: list[Planned]) -> str:
    """How many runs there are, how many are done, and what remains."""
    unknown = sum(run.hours is None for run in runs)
    total = sum(run.hours or 0.0 for run in runs)
    hours = "GPU-hours" if torch.cuda.is_available() else "hours"
    return (
        f"{len(runs)} runs, {sum(run.done for run in runs)} done. What remains takes about "
        f"{plain(total)} {hours} on this machine, one run after another (an estimate from single "
        f"training steps){f', and {unknown} runs of unknown time' if unknown else ''}."
    )


def print_plan(
    sweeps: Iterable[tuple[str, str, list[str]]],
    scale: str,
    overrides: Iterable[str] = (),
    download: bool = False,
) -> list[Planned]:
    """Takes sweeps with their seeds and what narrows them, prints their plan and returns its runs,
    each once."""
    by_name = {
        run.name: run
        for sweep, seeds, words in sweeps
        for run in runs_of(sweep, scale, seeds, [*words, *overrides], download)
    }
    runs = [*by_name.values()]
    print(*runs, summary(runs), sep="\n", flush=True)
    return runs


def _sweeps(name: str, seeds: str, experiment: str | None) -> list[tuple[str, str, list[str]]]:
    """Those of an item or of what stands for several, or else the user's own sweep of the name."""
    if items := items_of(name, experiment):
        if sweeps := sweeps_of(items, seeds):
            return sweeps
        raise PlanError(f"{name} is drawn without runs: make reproduce-{name}")
    return [(name, seeds, [f"experiment={experiment}"] if experiment else [])]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", nargs="?", help="a table, figure or file of conf/sweep")
    parser.add_argument("--scale", default="paper", help="paper (default), mid, lite or smoke")
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    parser.add_argument("--experiment", help="this one alone")
    parser.add_argument("--calibrate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="as of experiments.run: optimizer=adam")
    options = parser.parse_intermixed_args(arguments)
    if options.calibrate:
        try:
            print(json.dumps(calibrate(json.load(sys.stdin))))
        except DataError as error:
            print(json.dumps(str(error).splitlines()[0]))
        return
    if options.sweep is None:
        parser.error("name what to plan: a table, figure or file of conf/sweep, such as table1")
    try:
        sweeps = _sweeps(options.sweep, options.seeds, options.experiment)
        print_plan(sweeps, options.scale, options.overrides)
    except (PlanError, ResultError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
