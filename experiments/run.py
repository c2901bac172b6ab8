"""Run one experiment, or a sweep of them: `python -m experiments.run experiment=mnist`.

A configuration names model, data, optimizer and learning rate dropout; what comes out is one run
folder (see experiments/record.py). A finished run is skipped, an unfinished one goes on from its
checkpoint.
"""

from __future__ import annotations

import hashlib
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
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import lrd
from data.batches import DataError
from experiments import naming, streams
from experiments.checkpoint import CheckpointError, Checkpoints
from experiments.checks import ConfigError, check
from experiments.files import WriteError
from experiments.interruption import Interrupted, Interruption, raise_interrupted
from experiments.record import Record, RecordError, RunningElsewhere, is_finished
from experiments.schedule import factor, scheduler
from experiments.tracking import Progress, Tracker
from experiments.training import (
    Position,
    Step,
    autocast,
    build,
    epoch_batches,
    make_optimizer,
    make_step,
)  # fmt: skip
from models.weights import WeightsError

_OUTCOMES = "LRD_OUTCOMES"  # names the file in which the jobs of one command note how they ended
_KNOWN_ERRORS = (
    ConfigError, DataError, WeightsError, RecordError, CheckpointError, WriteError,
    lrd.CompilationError,
)  # fmt: skip


def run(config: naming.Config) -> str:
    """Train and evaluate one configuration; returns the run's status.

    Raises Interrupted after SIGINT or SIGTERM, with a checkpoint written.
    """
    check(config)
    if is_finished(config):
        print(f"{naming.run_folder(config)} is done already", flush=True)
        return "skipped"
    try:
        return train(config)
    except RunningElsewhere as busy:  # a sweep may name the base arm twice
        print(f"{busy}. It is left to that process", flush=True)
        return "skipped"


def train(config: naming.Config) -> str:
    """Train and evaluate a configuration that is not finished; returns its status."""
    device = _device(config)
    task = importlib.import_module(f"experiments.{config['task']}")
    if hasattr(task, "run"):  # a task without data is a whole run by itself
        with _own_generators(device):
            return task.run(config, device)
    data = build(config["data"])
    train_batches, test_batches = data.loaders(config["batch_size"], device)
    with streams.forked(config["seed"], "init"):
        model = build(config["model"], **_standard_dropout(config)).to(device)
    provenance = {**data.provenance, **_weights(config)}
    epochs, steps = config["epochs"], len(train_batches)
    _resolve_compile(config, model, epochs * steps)
    optimizer = make_optimizer(config, model)
    schedule = scheduler(config["schedule"], optimizer, steps, epochs)
    step = make_step(config, task, model, optimizer, schedule)
    with Record(config) as record, Interruption() as interruption:
        if is_finished(config):  # by another process, since
            return "skipped"
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        identity = {"hash": naming.config_hash(config), "data": json.dumps(provenance)}
        checkpoints = Checkpoints(record.folder, parts, identity, config["checkpoint_minutes"])
        saved = checkpoints.restore()
        record.start(device, provenance, saved)
        position = Position(steps, saved)

        def pause(epoch_ended: bool = False) -> None:
            """Where a run may be cut: write a checkpoint if it is time, end if asked to."""
            if interruption.requested or checkpoints.due(epoch_ended):
                checkpoints.save({**position.state(), **record.state()})
            interruption.check()

        with (
            _own_generators(device),
            Tracker(config) as tracker,
            Progress(record.folder, epochs, steps, position.number) as progress,
        ):
            while position.epoch <= epochs and not record.diverged:
                batches = epoch_batches(config, train_batches, position.epoch, position.step)
                figures = train_epoch(step, batches, position, progress, pause)
                with autocast(config, device):
                    figures |= task.evaluate(model, _guarded(test_batches, pause))
                first_step = (position.epoch - 1) * steps
                rate = schedule.base_lrs[0] * factor(config["schedule"], first_step, steps, epochs)
                row = {"epoch": position.epoch, "lr": rate, **figures}
                record.add(row, position.seconds)
                tracker.log(row)
                progress.report(row, position.seconds)
                position.next_epoch()
                pause(epoch_ended=True)
            status = "diverged" if record.diverged else "done"
            tracker.summarise(status)
        if config["predictions"] and status == "done":
            record.save_predictions(task.predict(model, test_batches, config["predictions"]))
        spent = round(checkpoints.seconds, 2)
        record.finish(status, epochs=position.epoch - 1, checkpoint_seconds=spent)
        checkpoints.keep_model()
        return status


def train_epoch(
    step: Step, batches: Iterable[Any], position: Position, progress: Progress, pause: Any
) -> dict[str, float]:
    """Train on the batches; returns the task's columns as means per sample of the epoch."""
    begin = time.perf_counter() - position.seconds
    for batch in batches:
        position.sums.add(step(batch, position.number), len(batch[0]))
        position.step += 1
        position.seconds = time.perf_counter() - begin
        progress.advance()
        pause()
    figures = position.sums.means()  # the only place where an epoch waits for the device
    position.seconds = time.perf_counter() - begin
    return figures


def _guarded(items: Iterable[Any], pause: Callable[[], None]) -> Iterator[Any]:
    for item in items:
        pause()
        yield item


def _standard_dropout(config: naming.Config) -> dict[str, float]:
    p_sd = config["regularizer"]["p_sd"]
    return {} if p_sd == 1 else {"p_sd": p_sd}


def _weights(config: naming.Config) -> dict[str, str]:
    """What is known of pretrained weights from a file, whose path says nothing."""
    path = config["model"].get("weights_file")
    return {"weights_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()} if path else {}


def _own_generators(device: torch.device) -> Any:
    """Leaves torch's global generators, which every step seeds, as they were before."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _device(config: naming.Config) -> torch.device:
    name = config["device"]
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(config["threads"])
    # The moments of parameters without gradient decay into denormal numbers (below 1e-38), on
    # which CPUs are many times slower; as zeros they change nothing that can be seen.
    torch.set_flush_denormal(True)
    return torch.device(name)


def _resolve_compile(config: naming.Config, model: torch.nn.Module, steps: int) -> None:
    """Replace `lrd.compile: auto` by what it means for this model and number of steps."""
    if config["lrd"]["compile"] == "auto":
        size = sum(parameter.numel() for parameter in model.parameters())
        masked = naming.masked(config) and not config["lrd"]["authors"]
        config["lrd"]["compile"] = masked and lrd.worth_compiling(size, steps)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(config: DictConfig) -> None:
    """One job of the command: a failure is noted and does not end a sweep."""
    name = " ".join(HydraConfig.get().overrides.task) or "the run"
    _note(name, "missing")  # and so it stays if the process dies
    error = ""
    try:
        status = run(OmegaConf.to_container(config, resolve=True))
    except _KNOWN_ERRORS as known:
        status, error = "failed", str(known)
    except Exception as unknown:  # any failure of one run leaves the others to go on
        traceback.print_exc()
        status, error = "failed", f"{type(unknown).__name__}: {unknown}"
    except Interrupted:
        _note(name, "interrupted")
        raise
    if error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    _note(name, status, error)


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
    code = 0
    # here, where the nodes of a cluster see it too, if anything can be written here
    place = os.getcwd() if os.access(".", os.W_OK) else None
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", dir=place, prefix=".jobs-") as file:
        os.environ[_OUTCOMES] = file.name
        try:
            job()
        except KeyboardInterrupt as interrupt:
            print("interrupted: the same command goes on with what is not done", file=sys.stderr)
            code = 128 + getattr(interrupt, "signal", signal.SIGINT)
        except SystemExit as stop:  # Hydra's, who has said why: a wrong word, a worker that died
            code = stop.code if isinstance(stop.code, int) else 1
        outcomes = {each["run"]: each for each in map(json.loads, file)}.values()
    counts = Counter(outcome["status"] for outcome in outcomes)
    if len(outcomes) > 1:
        print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
        for outcome in outcomes:
            if outcome["status"] in ("failed", "missing", "diverged"):
                reason = f": {outcome['error'].splitlines()[0]}" if outcome["error"] else ""
                print(f"{outcome['status']}: {outcome['run']}{reason}")
    sys.exit(code or int(counts["failed"] + counts["missing"] > 0))


if __name__ == "__main__":
    main()
