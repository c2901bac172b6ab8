"""Run one experiment, or a sweep of them: `python -m experiments.run experiment=mnist`.

A configuration names model, data, optimizer and learning rate dropout; what comes out is one run
folder (experiments/record). A finished run is skipped, an unfinished one goes on from its
checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import lrd
from data.batches import DataError
from experiments import outcomes, processes, words
from experiments.configuration import Config, ConfigError, is_evaluated
from experiments.identity import config_hash, run_folder
from experiments.loop import (
    Position,
    evaluate,
    evaluated_columns,
    make_step,
    save_files,
    train_epoch,
)
from experiments.precision import arithmetic
from experiments.record.atomic import WriteError
from experiments.record.checkpoint import CheckpointError, Checkpoints
from experiments.record.lock import RunningElsewhere
from experiments.record.reader import RecordError
from experiments.record.writer import Record, is_finished
from experiments.schedule import factor_function
from experiments.setting import Setting, prepare
from experiments.signals import Interrupted, Interruption, raise_interrupted
from experiments.tracking import Progress, Tracker, check_service
from experiments.validate import resolve
from models.weights import WeightsError

_KNOWN_ERRORS = (
    ConfigError, DataError, WeightsError, RecordError, CheckpointError, WriteError,
    lrd.CompilationError, processes.LostProcess,
)  # fmt: skip


def run(config: Config) -> str:
    """Train and evaluate one configuration; returns the run's status.

    Raises Interrupted after SIGINT or SIGTERM, with a checkpoint written, and RunningElsewhere for
    a run that another process makes.
    """
    config = resolve(config)
    if is_finished(config):
        silent = "" if config["wandb"]["mode"] == "disabled" else ", and nothing is logged of it"
        _say(f"{run_folder(config)} is done already{silent}")
        return "skipped"
    check_service(config)
    torch.set_num_threads(config["threads"])
    # The moments of parameters without gradient decay into denormal numbers (below 1e-38), on
    # which CPUs are many times slower; as zeros they change nothing that can be seen.
    torch.set_flush_denormal(True)
    with arithmetic(config):
        return _run(config)


def _run(config: Config) -> str:
    setting = prepare(config)
    with (
        Record(config, writes=processes.first()) as record,
        processes.interruption() as interruption,
        processes.contact(),
        # every step seeds torch's global generators
        torch.random.fork_rng([setting.device] if setting.device.type == "cuda" else []),
    ):
        if is_finished(config):  # by another process, since
            return "skipped"
        return fit(config, setting, record, interruption)


def fit(config: Config, setting: Setting, record: Record, interruption: Interruption) -> str:
    """Train from the last checkpoint on, evaluate after epochs, and close the record."""
    first, epochs, steps = processes.first(), config["epochs"], len(setting.train)
    step, factor = make_step(config, setting), factor_function(config["schedule"])
    whose = {"hash": config_hash(config), "data": json.dumps(setting.provenance)}
    whose["device"] = setting.device.type
    whose["clean_train"] = config["clean_train"]
    minutes = config["checkpoint_minutes"]
    checkpoints = Checkpoints(record.folder, setting.parts(), whose, minutes, record.lock)
    saved = checkpoints.restore()
    record.start(setting.device, setting.provenance, saved)
    position = Position(steps, saved)

    def pause(epoch_ended: bool = False, alone: bool = False) -> None:
        """Where a run may be cut: write a checkpoint if it is time, end if asked to."""
        interruption.agree(alone)
        progress.show(position.number)
        if interruption.requested or checkpoints.due(epoch_ended):
            checkpoints.save({**position.state(), **record.state(), "tracker": tracker.state()})
        interruption.check()

    with (
        Tracker(config, saved, not first) as tracker,
        Progress(record.folder, epochs, steps, position.number, not first) as progress,
    ):
        while position.epoch <= epochs and not record.diverged:
            rate = factor(position.number - position.step, steps, epochs)
            row = {"epoch": position.epoch, "lr": setting.schedule.base_lrs[0] * rate}
            row |= train_epoch(config, setting, step, position, pause)
            if is_evaluated(config, position.epoch):
                row |= evaluate(config, setting, pause)
            else:
                row |= dict.fromkeys(evaluated_columns(config, setting, row))
            record.add(row, position.seconds)
            tracker.log(row)
            progress.report(row, position.seconds)
            position.next_epoch()
            pause(epoch_ended=True)
        status = "diverged" if record.diverged else "done"
        tracker.finish(status, record.state()["rows"])
    if status == "done":
        save_files(config, setting, record.save_file)
    spent = round(checkpoints.seconds, 2)
    record.finish(status, epochs=position.epoch - 1, checkpoint_seconds=spent)
    try:
        checkpoints.keep_model()
    except WriteError as error:  # of a run that is done, whose last checkpoint stays whole
        _say(f"the checkpoint is not made smaller: {error}")
    return status


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
    outcomes.note(name, "missing")  # and so it stays if the process dies
    error, agreed = "", True
    try:
        processes.check_launcher(settings.runtime.choices["hydra/launcher"])
        status = run(OmegaConf.to_container(config, resolve=True))
    except Interrupted as stop:
        outcomes.note(name, "interrupted")
        if isinstance(stop.__context__, Exception):  # as a full disk, for the last checkpoint
            print(f"error: {stop.__context__}", file=sys.stderr, flush=True)
        raise
    except RunningElsewhere as elsewhere:  # a sweep may name the base arm twice
        error = f"{elsewhere}. It is left to that process"
        status = "skipped" if elsewhere.same_command else "busy"
        _say(error)
    except Exception as failure:  # of one run, which leaves the others to go on
        known, agreed = isinstance(failure, _KNOWN_ERRORS), processes.known_to_all(failure)
        error = str(failure) if known else f"{type(failure).__name__}: {failure}"
        status = "failed"
        if processes.first() or not agreed:
            if not known or os.environ.get("HYDRA_FULL_ERROR") == "1":
                traceback.print_exc()
            print(f"error: {error}", file=sys.stderr, flush=True)
    outcomes.note(name, status, error)
    if not agreed:
        raise processes.Alone(1)


# What a launcher asks for: a run's share of this machine's GPUs, with so many runs at a time
OmegaConf.register_new_resolver(
    "gpu_share", lambda runs: min(torch.cuda.device_count() / runs, 1), replace=True
)


def main() -> None:
    """Run the command line's jobs, and say how they ended if there were several.

    Exit status 1 if any failed or died, 128 + the signal's number if interrupted.
    """
    signal.signal(signal.SIGTERM, raise_interrupted)  # as Ctrl-C: it ends launchers' workers too
    # Hydra's, of our files for launchers, which have the names of the plugins' own
    warnings.filterwarnings("ignore", message="(?s).*ConfigStore schema with the same name")
    # Loky's, of what the workers that a Ctrl-C has ended leave
    os.environ["PYTHONWARNINGS"] = f"ignore:resource_tracker,{os.environ.get('PYTHONWARNINGS', '')}"
    sys.argv[1:] = words.ordered(sys.argv[1:])
    with processes.group():
        code = _jobs()
    sys.exit(code)


def _jobs() -> int:
    """Run the jobs; returns the exit status."""
    code, interrupted = 0, False
    if text := words.quoting(sys.argv[1:]):
        if processes.first():
            print(f"error: {text}", file=sys.stderr)
        return 1
    with outcomes.collected() as jobs:
        try:
            job()
        except KeyboardInterrupt as interrupt:
            interrupted = True
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
    if len(jobs) > 1:
        _say(outcomes.summary(jobs, interrupted))
    return code or int(outcomes.failures(jobs) > 0)


if __name__ == "__main__":
    main()
