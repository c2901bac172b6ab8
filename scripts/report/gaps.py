"""The runs that tables and figures lack, with the command that makes them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from experiments.record.faults import FINISHED
from experiments.record.reader import Run
from scripts.catalogue import ITEMS

SEEDS = (0, 1, 2)  # that the make targets run unless told otherwise


class Wanted(NamedTuple):
    """A sweep on one experiment, and the arms that it fills a table or figure with."""

    sweep: str
    experiment: str
    arms: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How many runs it has, with the seeds that the make targets take."""
        return len(self.arms) * len(SEEDS)

    def command(self, scale: str) -> str:
        """The make target that runs what is missing."""
        narrowed = f" EXPERIMENT={self.experiment}" if self.sweep in ("table1", "controls") else ""
        return f"make reproduce-{self.sweep} SCALE={scale}{narrowed} LAUNCHER=joblib"

    def missing(self, runs: Iterable[Run]) -> list[tuple[str, int]]:
        """Arms and seeds without a finished run among those of one scale."""
        there = {(run.arm, run.seed) for run in runs if _is_finished(run, self.experiment)}
        return [each for each in product(self.arms, SEEDS) if each not in there]


def wanted() -> list[Wanted]:
    """Everything that the paper and the suite's own questions ask for."""
    return [
        Wanted(item.sweep, experiment, tuple(item.arms()))
        for item in ITEMS.values()
        for experiment in item.experiments
        if item.in_report
    ]


def seconds_of_a_run(runs: Iterable[Run], experiment: str) -> float | None:
    """The mean training time of an experiment's finished runs; None if there is none."""
    found = [run.info["seconds"] for run in runs if _is_finished(run, experiment)]
    return statistics.fmean(found) if found else None


def _is_finished(run: Run, experiment: str) -> bool:
    return run.experiment == experiment and run.status in FINISHED
