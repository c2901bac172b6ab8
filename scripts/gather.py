"""What tables, figures and verdicts share: the finished runs of an experiment, by arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from experiments.identity import place_of
from experiments.record.reader import LeftOut, Run, Runs, read_runs
from experiments.tasks import Column, task_module
from scripts.item import Item, ResultError
from scripts.items import item_named
from scripts.own import own_arms, own_items
from scripts.titles import name_of, task_of, title

PAPER = Path(__file__).parent.parent / "results" / "paper"
_IMAGE_TASKS = ("classification", "segmentation", "detection")


@dataclass(frozen=True)
class Arm:
    """The finished runs of one arm, in the order of their seeds."""

    done: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)

    def curves(self, column: str) -> np.ndarray:
        """A metric of the runs that did not diverge, (epochs, seeds)."""
        return np.transpose([run.metrics[column] for run in self.done])

    def divergence(self) -> str:
        """`diverged 1/3`, or nothing."""
        total = len(self.done) + len(self.diverged)
        return f"diverged {len(self.diverged)}/{total}" if self.diverged else ""


@dataclass(frozen=True)
class Experiment:
    """One experiment at one scale: some of its arms by name, and the runs that do not count."""

    name: str
    arms: dict[str, Arm]
    unfinished: list[Run]
    left_out: list[LeftOut]
    own: list[str]  # arms that no item of the catalogue shows

    @property
    def title(self) -> str:
        return title(self.name, [run.config for run in self.runs])

    @property
    def runs(self) -> list[Run]:
        """All runs that count."""
        return [run for arm in self.arms.values() for run in (*arm.done, *arm.diverged)]

    @property
    def task(self) -> ModuleType:
        """The module that declares the columns of the runs."""
        return task_module(self.runs[0].config["task"] if self.runs else task_of(self.name))

    @property
    def result(self) -> Column:
        """What the task declares of the column that tables show."""
        return self.task.COLUMNS[self.task.RESULT]

    def __getitem__(self, arm: str) -> Arm:
        return self.arms.get(arm, Arm())


def read_item(name: str, runs_dir: Path, scale: str, experiment: str | None) -> tuple[Item, Runs]:
    """Takes the name of an item or figure, or `own`, returns the item and the runs of a scale.

    Of `own` it is the item of the experiment's own arms. Of an experiment that the item does not
    have it is that experiment's item. Raises ResultError if there are no such arms.
    """
    if name == "own":
        runs = read_runs(runs_dir, scale=scale, experiment=experiment)
        items = own_items(runs.runs)
        if not items:
            raise ResultError(
                f"no finished run of {experiment} at scale {scale} in {runs_dir} is of an arm that "
                "no item of the catalogue shows: `python -m scripts.verify` lists what there is"
            )
        return items[0], runs
    item = item_named(name)
    if experiment is not None and experiment not in item.experiments:
        item = item.of_experiment(experiment)
    read = [read_runs(runs_dir, scale=scale, experiment=of) for of in item.experiments]
    return item, Runs(
        [run for runs, _ in read for run in runs], [run for _, odd in read for run in odd]
    )


def gather(runs: Runs, name: str, arms: Iterable[str]) -> Experiment:
    """Takes the runs of a scale, returns the named arms of an experiment."""
    wanted = set(arms)
    of_experiment = [run for run in runs.runs if run.experiment == name]
    finished = [run for run in of_experiment if run.finished]
    gathered: dict[str, Arm] = {}
    for run in finished:
        if run.arm in wanted:
            arm = gathered.setdefault(run.arm, Arm())
            (arm.done if run.status == "done" else arm.diverged).append(run)
    return Experiment(
        name,
        gathered,
        [run for run in of_experiment if not run.finished and run.arm in wanted],
        [
            odd
            for odd in runs.left_out
            if odd.folder.parts[-3] == name and odd.folder.parts[-2] in wanted
        ],
        own_arms(finished).get(name, []),
    )


def of_one_seed(arms: dict[str, Arm]) -> dict[str, Run]:
    """Takes arms by any name, returns their runs of the first seed that all have done; or {}."""
    by_seed = {name: {run.seed: run for run in arm.done} for name, arm in arms.items()}
    common = set.intersection(*(set(runs) for runs in by_seed.values()))
    return {name: runs[min(common)] for name, runs in by_seed.items()} if common else {}


def require_runs(experiments: list[Experiment], runs_dir: Path, scale: str, item: Item) -> None:
    """Raise ResultError, with the command to start with, if there is no finished run at all."""
    if any(experiment.runs for experiment in experiments):
        return
    names = " or ".join(experiment.name for experiment in experiments)
    begun = [place(run) for experiment in experiments for run in experiment.unfinished]
    odd = [place_of(run.folder) for experiment in experiments for run in experiment.left_out]
    raise ResultError(
        f"no finished run of {names} at scale {scale} in {runs_dir}"
        + (f" (unfinished: {', '.join(begun)})" if begun else "")
        + (f" (left out, as `python -m scripts.verify` says: {', '.join(odd)})" if odd else "")
        + f". Make some with: python -m experiments.run +sweep={item.sweep} "
        f"experiment={experiments[0].name} scale={scale} seed={item.own_seeds or 0}"
    )


def place(run: Run) -> str:
    """A run's name in notes: `mnist/adam/seed1 (failed)`."""
    return f"{place_of(run.folder)} ({run.status})"


def names_left_out(experiment: Experiment) -> str:
    """What a figure's caption says of the runs that it does not show; nothing if there are none."""
    names = [place_of(run.folder) for run in experiment.left_out]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    reasons = " (python -m scripts.verify says why)"
    return f" Left out: {', '.join(names[:10])}{more}{reasons}." if names else ""


def conditions(experiment: Experiment) -> str:
    """Net, epochs, seeds, data, device, threads and version of an experiment's finished runs."""

    of = partial(among, experiment.runs)
    seeds = sorted({run.seed for run in experiment.runs})
    return (
        f"net: {of(_net)}; {of(lambda run: run.config['epochs'])} epochs, batch size "
        f"{of(lambda run: run.config['batch_size'])}, {of(lambda run: run.config['precision'])}; "
        f"seeds: {', '.join(map(str, seeds))}; data: {of(_data)}; "
        f"{machines(experiment.runs)}"
    )


def machines(runs: list[Run]) -> str:
    """Device, threads and torch's version of runs."""
    of = partial(among, runs)
    return (
        f"device: {of(_device)}, threads: {of(lambda run: run.info['threads'])}, "
        f"torch {of(lambda run: run.info['versions']['torch'])}"
    )


def among(runs: Iterable[Run], value: Callable[[Run], Any]) -> str:
    """What runs have, each once: `4 or 8`."""
    return " or ".join(sorted({str(value(run)) for run in runs}))


def _net(run: Run) -> str:
    hidden = ("_target_", "name", "num_classes")
    sizes = {key: value for key, value in run.config["model"].items() if key not in hidden}
    return ", ".join(_words(sizes)) or name_of(run.config["model"])


def _words(sizes: dict[str, Any]) -> Iterator[str]:
    """A net's sizes in words: `growth rate 4`; those that say null are the net's usual ones."""
    for key, value in sizes.items():
        if isinstance(value, dict):
            of = key.removesuffix("_options")
            yield from _words({f"{of}_{name}": size for name, size in value.items()})
        elif value is not None:
            number = "/".join(map(str, value)) if isinstance(value, list | tuple) else value
            yield f"{key.replace('_', ' ')} {number}"
        elif key == "encoder_weights":
            yield "not pretrained"


def _data(run: Run) -> str:
    source = run.info["data"]
    samples = "images" if run.config["task"] in _IMAGE_TASKS else "samples"
    test = "held-out" if run.config["data"].get("held_out") else "test"
    name = f"{source['name']} ({source['format']})".replace(") (", "; ")
    return f"{name}, {source['train']:,} training and {source['test']:,} {test} {samples}"


def _device(run: Run) -> str:
    return f"cpu ({run.processor})" if run.info["device"] == "cpu" else run.processor


def paper_values(item: Item, experiment: str) -> dict[tuple[str, str], float]:
    """Takes an item, returns the paper's numbers of one of its experiments by arm and metric."""
    if item.published is None:
        return {}
    rows = published(item.published)
    rows = rows[rows["experiment"] == experiment]
    return rows.set_index(["arm", "metric"])["value"].to_dict()


def published(item: str) -> pd.DataFrame:
    """The paper's numbers of a table or figure: experiment, arm, metric, value."""
    return pd.read_csv(PAPER / f"{item}.csv")
