"""Run one experiment, or a sweep of them: `python -m experiments.run experiment=mnist`.

A configuration names model, data, optimizer and learning rate dropout; what comes out is one run
folder (see experiments/record.py). A finished run is skipped, an unfinished one goes on from its
checkpoint.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import lrd
from data.batches import DataError
from experiments import followers, identity, processes
from experiments.processes import on_first, together
from experiments.record.atomic import WriteError
from experiments.record.checkpoint import CheckpointError
from experiments.record.reader import RecordError
from experiments.record.writer import Record, RunningElsewhere, is_finished
from experiments.schedule import factor
from experiments.setting import (
    Position,
    Setting,
    Step,
    autocast,
    epoch_batches,
    make_step,
    prepare,
)  # fmt: skip
from experiments.signals import Interrupted, Interruption, raise_interrupted
from experiments.tracking import Progress, Tracker
from experiments.validate import ConfigError, check
from models.weights import WeightsError

_OUTCOMES = "LRD_OUTCOMES"  # names the file in which the jobs of one command note how they ended
_KNOWN_ERRORS = (
    ConfigError, DataError, WeightsError, RecordError, CheckpointError, WriteError,
    lrd.CompilationError, processes.LostProcess,
)  # fmt: skip


def run(config: identity.Config) -> str:
    """Train and evaluate one configuration; returns the run's status.

    Raises Interrupted after SIGINT or SIGTERM, with a checkpoint written.
    """
    together(lambda: check(config))
    if on_first(lambda: is_finished(config)):
        _say(f"{identity.run_folder(config)} is done already")
        return "skipped"
    try:
        return train(config)
    except RunningElsewhere as busy:  # a sweep may name the base arm twice
        _say(f"{busy}. It is left to that process")
        return "skipped"


def train(config: identity.Config) -> str:
    """Train and evaluate a configuration that is not finished; returns its status."""
    device = together(lambda: _device(config))
    task = importlib.import_module(f"experiments.tasks.{config['task']}")
    if hasattr(task, "run"):  # a task without data is a whole run by itself
        with _own_generators(device):
            return on_first(lambda: task.run(config, device))
    setting = together(lambda: prepare(config, device, task))
    step = make_step(config, task, setting.model, setting.optimizer, setting.schedule)
    with ExitStack() as stack:
        record = together(lambda: stack.enter_context(followers.record(config)))
        interruption = stack.enter_context(followers.interruption())
        if on_first(lambda: is_finished(config)):  # by another process, since
            return "skipped"
        with processes.contact():
            return fit(config, setting, step, record, interruption)


def fit(
    config: identity.Config,
    setting: Setting,
    step: Step,
    record: Record,
    interruption: Interruption,
) -> str:
    """Train from the last checkpoint on, evaluate after each epoch, and close the record."""
    device, task, train_batches, test_batches, provenance, model, *_ = setting
    whose = {"hash": identity.config_hash(config), "data": json.dumps(provenance)}
    minutes = config["checkpoint_minutes"]
    checkpoints = followers.checkpoints(record.folder, setting.parts(), whose, minutes)
    saved = checkpoints.restore(on_first(checkpoints.read))
    record.start(device, provenance, saved)
    epochs, steps = config["epochs"], len(train_batches)
    position = Position(steps, saved)

    def pause(epoch_ended: bool = False, alone: bool = False) -> None:
        """Where a run may be cut: write a checkpoint if it is time, end if asked to."""
        interruption.agree(alone)
        if interruption.requested or checkpoints.due(epoch_ended):
            state = {**position.state(), **record.state(), "tracker": tracker.state()}
            checkpoints.save(state)
        interruption.check()

    def evaluate() -> dict[str, float]:
        with autocast(config, device):
            return task.evaluate(model, _guarded(test_batches, pause))

    with (
        _own_generators(device),
        followers.shown(Tracker, config, saved) as tracker,
        followers.shown(Progress, record.folder, epochs, steps, position.number) as progress,
    ):
        while position.epoch <= epochs and not record.diverged:
            batches = epoch_batches(config, train_batches, position.epoch, position.step)
            counts = train_batches.counts(position.step)
            figures = train_epoch(step, batches, counts, position, progress, pause)
            figures |= on_first(evaluate)
            rate = _rate(config, setting, position.epoch)
            row = {"epoch": position.epoch, "lr": rate, **figures}
            record.add(row, position.seconds)
            tracker.log(row)
            progress.report(row, position.seconds)
            position.next_epoch()
            pause(epoch_ended=True)
        status = "diverged" if record.diverged else "done"
        tracker.finish(status, record.state()["rows"])
    if config["predictions"] and status == "done":
        count = config["predictions"]
        on_first(lambda: record.save_predictions(task.predict(model, test_batches, count)))
    spent = round(checkpoints.seconds, 2)
    record.finish(status, epochs=position.epoch - 1, checkpoint_seconds=spent)
    checkpoints.keep_model()
    return status


def _rate(config: identity.Config, setting: Setting, epoch: int) -> float:
    """The learning rate of an epoch's first step."""
    steps = len(setting.train)
    scale = factor(config["schedule"], (epoch - 1) * steps, steps, config["epochs"])
    return setting.schedule.base_lrs[0] * scale


def train_epoch(
    step: Step,
    batches: Iterable[Any],
    counts: list[int],
    position: Position,
    progress: Progress,
    pause: Callable[[], None],
) -> dict[str, float]:
    """Train on batches of so many samples, of which several processes have a part each.

    Returns the task's columns as means per sample of the epoch.
    """
    begin = time.perf_counter() - position.seconds
    for batch, count in zip(batches, counts, strict=True):
        position.sums.add(step(batch, position.number, count), count)
        position.step += 1
        position.seconds = time.perf_counter() - begin
        progress.advance()
        pause()
    figures = position.sums.means()  # the only place where an epoch waits for the device
    position.seconds = time.perf_counter() - begin
    return figures


def _guarded(items: Iterable[Any], pause: Callable[..., None]) -> Iterator[Any]:
    for item in items:
        pause(alone=True)
        yield item


def _own_generators(device: torch.device) -> Any:
    """Leaves torch's global generators, which every step seeds, as they were before."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _device(config: identity.Config) -> torch.device:
    torch.set_num_threads(config["threads"])
    # The moments of parameters without gradient decay into denormal numbers (below 1e-38), on
    # which CPUs are many times slower; as zeros they change nothing that can be seen.
    torch.set_flush_denormal(True)
    return processes.device(config["device"])


def _say(text: str) -> None:
    if processes.first():
        print(text, flush=True)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(config: DictConfig) -> None:
    """One job of the command: a failure is noted and does not end a sweep.

    But it ends them all if it is the failure of one of several processes.
    """
    settings = HydraConfig.get()
    name = " ".join(settings.overrides.task) or "the run"
    _note(name, "missing")  # and so it stays if the process dies
    error, agreed = "", True
    try:
        processes.check_launcher(settings.runtime.choices["hydra/launcher"])
        status = run(OmegaConf.to_container(config, resolve=True))
    except Interrupted:
        _note(name, "interrupted")
        raise
    except Exception as failure:  # of one run, which leaves the others to go on
        known, agreed = isinstance(failure, _KNOWN_ERRORS), processes.known_to_all(failure)
        error = str(failure) if known else f"{type(failure).__name__}: {failure}"
        status = "failed"
        if processes.first() or not agreed:
            if not known:
                traceback.print_exc()
            print(f"error: {error}", file=sys.stderr, flush=True)
    _note(name, status, error)
    if not agreed:
        raise processes.Alone(1)


def _note(name: str, status: str, error: str = "") -> None:
    with open(os.environ[_OUTCOMES], "a", encoding="utf-8") as file:
        file.write(json.dumps({"run": name, "status": status, "error": error}) + "\n")


def main() -> None:
    """Run the command line's jobs, and say how they ended if there were several.

    Exit status 1 if any failed or died, 128 + the signal's number if interrupted.
    """
    signal.signal(signal.SIGTERM, raise_interrupted)  # as Ctrl-C: it ends launchers' workers too
    # Hydra's, of our files for launchers, which have the names of the plugins' own
    warnings.filterwarnings("ignore", message="(?s).*ConfigStore schema with the same name")
    with processes.group():
        code = _jobs()
    sys.exit(code)


def _jobs() -> int:
    """Run the jobs; returns the exit status."""
    code = 0
    # here, where the nodes of a cluster see it too, if anything can be written here
    place = os.getcwd() if os.access(".", os.W_OK) else None
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", dir=place, prefix=".jobs-") as file:
        os.environ[_OUTCOMES] = file.name
        try:
            job()
        except KeyboardInterrupt as interrupt:
            code = 128 + getattr(interrupt, "signal", signal.SIGINT)
            if not processes.known_to_all(interrupt):
                raise processes.Alone(code) from interrupt
            if processes.first():
                text = "interrupted: the same command goes on with what is not done"
                print(text, file=sys.stderr)
        except processes.Alone:
            raise
        except SystemExit as stop:  # Hydra's, who has said why: a wrong word, a worker that died
            code = stop.code if isinstance(stop.code, int) else 1
        outcomes = {each["run"]: each for each in map(json.loads, file)}.values()
    counts = Counter(outcome["status"] for outcome in outcomes)
    if len(outcomes) > 1 and processes.first():
        _summarise(counts, outcomes)
    return code or int(counts["failed"] + counts["missing"] > 0)


def _summarise(counts: Counter[str], outcomes: Iterable[dict[str, str]]) -> None:
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    for outcome in outcomes:
        if outcome["status"] in ("failed", "missing", "diverged"):
            reason = f": {outcome['error'].splitlines()[0]}" if outcome["error"] else ""
            print(f"{outcome['status']}: {outcome['run']}{reason}")


if __name__ == "__main__":
    main()
