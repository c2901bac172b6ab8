"""Run one experiment, or a sweep of them: `python -m experiments.run experiment=mnist`.

A configuration names model, data, optimizer and learning rate dropout; what comes out is one run
folder (see experiments/record.py). A finished run is skipped.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

import lrd
from data.batches import DataError
from experiments import naming, rivals, streams
from experiments.checks import ConfigError, check
from experiments.record import Record, RecordError, is_finished
from experiments.schedule import scheduler
from experiments.tracking import Tracker

_OUTCOMES = "LRD_OUTCOMES"  # names the file in which the jobs of one command note how they ended


def run(config: naming.Config) -> str:
    """Train and evaluate one configuration; returns the run's status."""
    check(config)
    if is_finished(config):
        print(f"{naming.run_folder(config)} is done already", flush=True)
        return "skipped"
    device = _device(config)
    data = build(config["data"])
    train, test = data.loaders(config["batch_size"], device)
    with streams.forked(config["seed"], "init"):
        model = build(config["model"], **_standard_dropout(config)).to(device)
    _resolve_compile(config, model, config["epochs"] * len(train))
    with Record(config) as record:
        if is_finished(config):  # by another process, since
            return "skipped"
        record.start(device, data.provenance)
        task = importlib.import_module(f"experiments.{config['task']}")
        optimizer = make_optimizer(config, model)
        step = make_step(config, task, model, optimizer, len(train))
        status = "done"
        with (
            torch.random.fork_rng(),
            Tracker(config) as tracker,
            Progress(record.folder, config["epochs"], len(train)) as progress,
        ):
            for epoch in range(1, config["epochs"] + 1):
                begin = time.perf_counter()
                rate = optimizer.param_groups[0]["lr"]
                figures = train_epoch(step, _epoch_batches(config, train, epoch), epoch, progress)
                seconds = time.perf_counter() - begin
                with autocast(config, device):
                    figures |= task.evaluate(model, test)
                row = {"epoch": epoch, "lr": rate, **figures}
                record.add(row, seconds)
                tracker.log(row)
                progress.report(row, seconds)
                if not math.isfinite(row["train_loss"]):
                    status = "diverged"
                    break
            tracker.summarise(status)
        record.finish(status, epochs=epoch)
        return status


def make_step(
    config: naming.Config, task: Any, model: Any, optimizer: Any, steps_per_epoch: int
) -> Callable[[Any, int], dict[str, torch.Tensor]]:
    """A training step: a batch and the step's number, from 0, to the sums of the task's columns.

    Code that knows only torch's global generator (dropout) runs on the step's own stream.
    """
    parameters = list(model.parameters())
    device = parameters[0].device
    schedule = scheduler(config["schedule"], optimizer, steps_per_epoch, config["epochs"])
    change = rivals.gradient_change(config)
    if config["channels_last"]:
        model.register_forward_pre_hook(_channels_last)
    if config["compile_model"]:
        model.compile()

    def step(batch: Any, number: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(streams.derive(config["seed"], "dropout", number))
        optimizer.zero_grad(set_to_none=True)
        with autocast(config, device):
            loss, sums = task.loss(model, batch)
        loss.backward()
        if change is not None:
            change([each.grad for each in parameters if each.grad is not None], number)
        optimizer.step()
        schedule.step()
        return sums

    return step


def train_epoch(step: Any, batches: Any, epoch: int, progress: Any) -> dict[str, float]:
    """One pass over the training batches; the task's columns as means per sample.

    Sums stay on the device until the end: the loop never waits for it.
    """
    names, totals, count = [], 0.0, 0
    for number, batch in enumerate(batches, (epoch - 1) * progress.steps):
        sums = step(batch, number)
        names = list(sums)
        totals = totals + torch.stack([value.detach().double() for value in sums.values()])
        count += len(batch[0])
        progress.advance()
    return dict(zip(names, (totals / count).tolist(), strict=True))


def _epoch_batches(config: naming.Config, train: Any, epoch: int) -> Any:
    """The epoch's batches: its order, its augmentation and, with noisy label, its labels."""
    seed, rate = config["seed"], config["regularizer"]["noisy_label"]
    order, augmentation, labels = (
        streams.generator(seed, name, epoch) for name in ("order", "augmentation", "labels")
    )
    if rate == 0:
        return train.epoch(order, augmentation)
    noisy = rivals.noisy_labels(train.labels, rate, config["model"]["num_classes"], labels)
    return train.epoch(order, augmentation, labels=noisy)


def autocast(config: naming.Config, device: torch.device) -> torch.autocast:
    """bfloat16 where torch's rules allow it, with precision=bf16."""
    enabled = config["precision"] == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _channels_last(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    return tuple(each.contiguous(memory_format=torch.channels_last) for each in inputs)


def _standard_dropout(config: naming.Config) -> dict[str, float]:
    p_sd = config["regularizer"]["p_sd"]
    return {} if p_sd == 1 else {"p_sd": p_sd}


def build(node: naming.Config, *arguments: Any, **more: Any) -> Any:
    """Call the function or class that `_target_` names with the node's other keys."""
    keywords = {key: value for key, value in node.items() if key != "_target_"}
    return get_method(node["_target_"])(*arguments, **keywords, **more)


def make_optimizer(config: naming.Config, model: torch.nn.Module) -> torch.optim.Optimizer:
    """torch.optim's own optimizer for a base arm, lrd's with the mask stream for the others."""
    settings = config["optimizer"]
    hyper = {k: v for k, v in settings.items() if k not in ("name", "base", "lrd")}
    hyper["lr"] = hyper["lr"] * config["lr_scale"]
    if not naming.masked(config):
        return build(settings["base"], model.parameters(), **hyper)
    masked = config["lrd"]
    if masked["rescale"]:
        hyper["lr"] = hyper["lr"] / masked["p"]
    authors = {"_target_": "experiments.rivals.AuthorsRMSprop"}
    return build(
        authors if masked["authors"] else settings["lrd"],
        model.parameters(),
        **hyper,
        keep_prob=masked["p"],
        seed=streams.derive(config["seed"], "mask"),
        compile=masked["compile"],
    )


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


class Progress:
    """A bar with loss and time left on a terminal, one line an epoch elsewhere."""

    def __init__(self, folder: Path, epochs: int, steps: int) -> None:
        self._name = "/".join(folder.parts[-3:])
        self._epochs, self.steps = epochs, steps
        self._bar = tqdm(
            total=epochs * steps, desc=self._name, unit="step", disable=not sys.stderr.isatty()
        )
        self.advance = self._bar.update

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def report(self, row: dict[str, float], seconds: float) -> None:
        test = {key: value for key, value in row.items() if key.startswith("test_a")}
        shown = {"loss": row["train_loss"], **test}
        text = ", ".join(f"{key} {value:.4g}" for key, value in shown.items())
        self._bar.set_postfix_str(text)
        if self._bar.disable:
            print(
                f"{self._name} epoch {row['epoch']}/{self._epochs}: {text} ({seconds:.1f} s)",
                flush=True,
            )


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(config: DictConfig) -> None:
    """One job of the command: a failure is noted and does not end a sweep."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    name = f"{plain['experiment']}/{plain['optimizer']['name']} seed {plain['seed']}"
    error = ""
    try:
        status = run(plain)
        name = str(naming.run_folder(plain))
    except (ConfigError, DataError, RecordError, lrd.CompilationError) as known:
        status, error = "failed", str(known)
    except Exception as unknown:  # any failure of one run leaves the others to go on
        traceback.print_exc()
        status, error = "failed", f"{type(unknown).__name__}: {unknown}"
    if error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    with open(os.environ[_OUTCOMES], "a", encoding="utf-8") as file:
        file.write(json.dumps({"run": name, "status": status, "error": error}) + "\n")


def main() -> None:
    """Run the command line's jobs; exit status 1 if any failed, 130 if interrupted."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", suffix=".jsonl") as file:
        os.environ[_OUTCOMES] = file.name
        try:
            job()
        except KeyboardInterrupt:
            print("interrupted: the same command goes on with what is not done", file=sys.stderr)
            sys.exit(130)
        outcomes = [json.loads(line) for line in file]
    failed = [outcome for outcome in outcomes if outcome["status"] == "failed"]
    if len(outcomes) > 1:
        counts = Counter(outcome["status"] for outcome in outcomes)
        print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
        for outcome in failed:
            print(f"failed: {outcome['run']}: {outcome['error'].splitlines()[0]}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
