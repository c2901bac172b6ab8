"""What tables and figures share: finished runs gathered into comparable arms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from experiments.identity import differences
from experiments.record.faults import FINISHED
from experiments.record.reader import Run, read_runs
from scripts.catalogue import TITLES

PAPER = Path(__file__).parent.parent / "results" / "paper"

# Runs that share a key may differ in these configuration keys only: seeds of one arm, methods on
# one optimizer, optimizers of one experiment.
_METHOD = (
    "seed:", "lrd.", "lr_scale:", "regularizer.", "optimizer.weight_decay:", "data.standardised:"
)  # fmt: skip
_COMPARABLE: tuple[tuple[Callable[[Run], str], tuple[str, ...]], ...] = (
    (lambda run: run.arm, ("seed:",)),
    (lambda run: run.config["optimizer"]["name"], _METHOD),
    (lambda run: run.experiment, (*_METHOD, "optimizer.")),
)


class ResultError(RuntimeError):
    """Runs of which no table or figure can be made; the message says why and what to do."""


@dataclass(frozen=True)
class Arm:
    """The finished runs of one arm, in the order of their seeds."""

    done: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)

    def curves(self, column: str) -> pd.DataFrame:
        """A metric by epoch (rows) and seed (columns), of the runs that did not diverge."""
        return pd.DataFrame({run.seed: run.metrics.set_index("epoch")[column] for run in self.done})

    def divergence(self) -> str:
        """`diverged 1/3`, or nothing."""
        total = len(self.done) + len(self.diverged)
        return f"diverged {len(self.diverged)}/{total}" if self.diverged else ""


@dataclass(frozen=True)
class Experiment:
    """One experiment at one scale: its arms by name, and the runs that do not count."""

    name: str
    arms: dict[str, Arm]
    unfinished: list[Run]

    @property
    def title(self) -> str:
        return TITLES.get(self.name, self.name)

    @property
    def runs(self) -> list[Run]:
        """All runs that count."""
        return [run for arm in self.arms.values() for run in (*arm.done, *arm.diverged)]

    def __getitem__(self, arm: str) -> Arm:
        return self.arms.get(arm, Arm())


def read_experiment(runs_dir: Path, scale: str, name: str, arms: Iterable[str]) -> Experiment:
    """Gather the named arms of an experiment from its run folders; see `gather`."""
    return gather(read_runs(runs_dir, scale=scale, experiment=name).runs, name, arms)


def gather(runs: Iterable[Run], name: str, arms: Iterable[str]) -> Experiment:
    """The named arms of an experiment among its runs.

    Raises ResultError if their configurations differ in more than seed, method and optimizer.
    """
    wanted = set(arms)
    runs = [run for run in runs if run.arm in wanted]
    finished = [run for run in runs if run.status in FINISHED]
    _check_comparable(finished)
    gathered: dict[str, Arm] = {}
    for run in finished:
        arm = gathered.setdefault(run.arm, Arm())
        (arm.done if run.status == "done" else arm.diverged).append(run)
    unfinished = [run for run in runs if run.status not in FINISHED]
    return Experiment(name, gathered, unfinished)


def require_runs(
    experiments: list[Experiment], runs_dir: Path, scale: str, sweep: str = "table1"
) -> None:
    """Raise ResultError, with the command to start with, if there is no finished run at all."""
    if any(experiment.runs for experiment in experiments):
        return
    names = " or ".join(experiment.name for experiment in experiments)
    begun = [place(run) for experiment in experiments for run in experiment.unfinished]
    raise ResultError(
        f"no finished run of {names} at scale {scale} in {runs_dir}"
        + (f" (unfinished: {', '.join(begun)})" if begun else "")
        + f". Make some with: python -m experiments.run +sweep={sweep} "
        f"experiment={experiments[0].name} scale={scale} seed=0"
    )


def _check_comparable(runs: list[Run]) -> None:
    for run in runs:
        ours, theirs = runs[0].info["data"], run.info["data"]
        differ = [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
        if differ:
            raise ResultError(
                f"{runs[0].folder} and {run.folder} were made with other data ({differ[0]} in "
                "run.json): find out which is right, and run the others again"
            )
    for key, may_differ in _COMPARABLE:
        firsts: dict[str, Run] = {}
        for run in runs:
            first = firsts.setdefault(key(run), run)
            lines = [
                line
                for line in differences(first.config, run.config)
                if not line.startswith(may_differ)
            ]
            if lines:
                raise ResultError(
                    f"{first.folder} and {run.folder} cannot stand in one table:\n  "
                    + "\n  ".join(lines)
                    + "\nMove one of them away, or run it again with the other's configuration"
                )


def place(run: Run) -> str:
    """A run's name in notes: `mnist/adam/seed1 (failed)`."""
    return f"{run.experiment}/{run.arm}/seed{run.seed} ({run.status})"


def conditions(experiment: Experiment) -> str:
    """Net, epochs, seeds, data, device, threads and version of an experiment's finished runs."""

    def among(value: Callable[[Run], str]) -> str:
        return " or ".join(sorted({value(run) for run in experiment.runs}))

    def data(run: Run) -> str:
        source = run.info["data"]
        return (
            f"{source['name']} ({source['format']}), {source['train']:,} training and "
            f"{source['test']:,} test images"
        )

    def device(run: Run) -> str:
        info = run.info
        return f"{info['device']} ({info['cpu']})" if info["device"] == "cpu" else info["device"]

    def net(run: Run) -> str:
        hidden = ("_target_", "num_classes")
        sizes = {key: value for key, value in run.config["model"].items() if key not in hidden}
        return ", ".join(f"{key} {value}" for key, value in sizes.items())

    seeds = sorted({run.seed for run in experiment.runs})
    return (
        f"net: {among(net)}; {among(lambda run: str(run.config['epochs']))} epochs, batch size "
        f"{among(lambda run: str(run.config['batch_size']))}; "
        f"seeds: {', '.join(map(str, seeds))}; data: {among(data)}; "
        f"device: {among(device)}, threads: {among(lambda run: str(run.info['threads']))}, "
        f"torch {among(lambda run: run.info['versions']['torch'])}"
    )


def published(item: str) -> pd.DataFrame:
    """The paper's numbers of a table or figure: experiment, arm, metric, value."""
    return pd.read_csv(PAPER / f"{item}.csv")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is never seen half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_bytes(content)
    os.replace(aside, path)
