"""The reading side of run folders: what tables, figures, verdicts and report are made from."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments.configuration import Config
from experiments.identity import hashed_part, tuned
from experiments.record.faults import faults
from experiments.record.files import Columns, RecordError, read_config, read_info, read_table
from experiments.record.schema import FINISHED


@dataclass(frozen=True)
class Run:
    """A run folder as tables and figures read it; `metrics` has a value per epoch."""

    folder: Path
    scale: str
    experiment: str
    arm: str
    seed: int
    config: Config
    info: dict[str, Any]
    metrics: Columns

    @property
    def status(self) -> str:
        return self.info["status"]

    @property
    def finished(self) -> bool:
        """Whether it has ended by itself: done, or diverged."""
        return self.status in FINISHED

    @property
    def processor(self) -> str:
        """What its arithmetic was done on, by name: a CPU or a GPU."""
        return self.info["cpu"] if self.info["device"] == "cpu" else self.info["device"]

    @property
    def epochs(self) -> int:
        """How many were trained."""
        return len(self.metrics.get("epoch", ()))


class LeftOut(NamedTuple):
    """A run folder that no table, figure or verdict is made from, and why."""

    folder: Path
    reason: str


class Runs(NamedTuple):
    """The runs of a scale that are whole, finished or not, and the folders that are left out."""

    runs: list[Run]
    left_out: list[LeftOut]


def read_run(folder: Path) -> Run:
    """Takes <runs_dir>/<scale>/<experiment>/<arm>/seed<k>, returns its run, unchecked.

    Raises RecordError for a file that cannot be read.
    """
    scale, experiment, arm, seed = folder.parts[-4:]
    number = int(seed.removeprefix("seed"))
    parts = read_config(folder), read_info(folder), read_table(folder / "metrics.csv")
    return Run(folder, scale, experiment, arm, number, *parts)


def read_runs(
    runs_dir: str | Path,
    *,
    scale: str,
    experiment: str | None = None,
    wanted: Callable[[str], bool] = lambda arm: True,
) -> Runs:
    """Takes the root of run folders, returns those of a scale, each read and checked once.

    `wanted` says which arms, by name. In the order of experiment, arm and seed. A folder that is
    not a whole record is left out, and so is a run that was made with other data than most of its
    experiment's, at another choice than most of its arm's, or that would make a pair of a CPU and a
    GPU.
    """
    runs, left_out = [], []
    for path in (Path(runs_dir) / scale).glob(f"{experiment or '*'}/*/seed*/run.json"):
        folder = path.parent
        # one that was put aside has another name
        if not re.fullmatch("seed[0-9]+", folder.name) or not wanted(folder.parent.name):
            continue
        if not re.fullmatch("seed(0|[1-9][0-9]{0,18})", folder.name):
            left_out.append(LeftOut(folder, f"{folder.name} is no seed's name, as seed0 is"))
            continue
        try:
            run = read_run(folder)
            lines = faults(run)
        except RecordError as error:
            lines = [str(error)]
        if lines:  # which quote what a file holds
            left_out.append(LeftOut(folder, "; ".join(lines)[:1000]))
        else:
            runs.append(run)
    finished = [run for run in runs if run.finished]
    kinds = _on_other_devices(finished), _with_other_data(finished), _at_other_choices(finished)
    unlike = {run.folder: run for of_kind in kinds for run in of_kind}
    kept = [run for run in runs if run.folder not in unlike]
    order = sorted(kept, key=lambda run: (run.experiment, run.arm, run.seed))
    return Runs(order, sorted([*left_out, *unlike.values()]))


def _with_other_data(runs: Iterable[Run]) -> Iterator[LeftOut]:
    """Takes finished runs, yields those whose data or task are not those of most.

    Runs of an experiment with the same data configuration are compared, by what run.json says of
    their data, as far as it says it.
    """
    data_of: dict[tuple[str, str], str] = {}  # an arm's data are in its name
    groups: dict[str, list[tuple[Run, dict[str, str]]]] = defaultdict(list)
    for run in runs:
        arm = run.experiment, run.arm
        if arm not in data_of:
            keys = hashed_part(run.config).items()
            data_of[arm] = json.dumps([arm[0], [it for it in keys if it[0].startswith("data.")]])
        origin = {**run.info["data"], "task": run.config["task"]}
        origin = {key: repr(value) for key, value in origin.items()}
        groups[data_of[arm]].append((run, origin))
    for run, keys in _unlike_most(groups.values()):
        yield LeftOut(
            run.folder,
            f"made with other data than most of its experiment's runs ({keys} in run.json): make "
            "it again with theirs",
        )


def _at_other_choices(runs: Iterable[Run]) -> Iterator[LeftOut]:
    """Takes finished runs, yields those with best_rate whose choice is not that of most.

    Runs of an arm at its best are compared as one: at one rate and weight decay.
    """
    groups: dict[tuple[str, str], list[tuple[Run, dict[str, str]]]] = defaultdict(list)
    for run in runs:
        if run.config.get("best_rate"):
            chosen = {key: str(run.config["optimizer"].get(key)) for key in tuned(run.experiment)}
            groups[run.experiment, run.arm].append((run, chosen))
    for run, keys in _unlike_most(groups.values()):
        yield LeftOut(
            run.folder,
            f"made at another choice than most of its arm's runs (optimizer's {keys} in "
            "config.yaml): delete those that the grid of rates no longer chooses, and repeat them",
        )


def _unlike_most(groups: Iterable[list[tuple[Run, dict[str, str]]]]) -> Iterator[tuple[Run, str]]:
    """Takes groups of runs with their values by key, yields those unlike most, and the keys."""
    for group in groups:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for _, values in group:
            for key, value in values.items():
                counts[key][value] += 1
        usual = {key: of_key.most_common(1)[0][0] for key, of_key in counts.items()}
        for run, values in group:
            if differ := [key for key, value in values.items() if value != usual[key]]:
                yield run, ", ".join(differ)


def _on_other_devices(runs: Iterable[Run]) -> Iterator[LeftOut]:
    """Takes finished runs, yields those that would make a pair of a CPU and a GPU.

    Their arithmetic differs, so that the arms of a seed must be of one kind of machine.
    """
    experiments: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        experiments[run.experiment].append(run)
    for group in experiments.values():
        usual = sum(map(on_gpu, group)) > len(group) / 2
        kinds = defaultdict(set)
        for run in group:
            kinds[run.seed].add(on_gpu(run))
        for run in group:
            if len(kinds[run.seed]) > 1 and on_gpu(run) != usual:
                yield LeftOut(
                    run.folder,
                    f"made on a {'GPU' if on_gpu(run) else 'CPU'}, other arms of its seed were "
                    "not: pairs must be of one kind, make it again as they were",
                )


def on_gpu(run: Run) -> bool:
    return run.info["device"] != "cpu"
