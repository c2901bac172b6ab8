"""Two sides of a claim's comparison, measured at every seed that both have."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from experiments.choice import FRESH, criterion, last, mean_step, stem
from experiments.record.reader import Run
from experiments.tasks import task_module
from scripts.catalogue import ITEMS
from scripts.gather import Arm, Experiment, published
from scripts.item import RATES, at_rate
from scripts.rates import octaves
from scripts.tables.cells import STATISTICS
from scripts.verdicts.claim import Pair, Trend, of_octaves

MAIN_METRICS = ("test_accuracy", "mean_iou")
_DRAWS = 1000  # of the bootstrap over images


class Measured(NamedTuple):
    """A comparison's runs at the seeds that count."""

    seeds: list[int]
    first: float  # the statistic's mean over the seeds; NaN without any
    second: float
    values: np.ndarray  # by seed: the two sides of a pair, or all arms of a trend
    differences: list[float]  # by seed: first side less second, or a trend's last arm less first
    diverged: dict[str, list[int]]  # by arm, at seeds at which all of them ended
    mixed: list[int]  # seeds left out: their runs were made on different processors
    silent: list[int]  # seeds left out: both sides are alike by construction, or a range is cut
    runs: list[list[Run]]  # by seed, of all arms


def measure(comparison: Pair | Trend, experiment: Experiment) -> Measured:
    """Takes a comparison and its experiment's runs, returns them at the seeds that count.

    All arms have a run of the seed, on processors of one type: on another one libraries round
    differently, which training amplifies. In a mean of pairs, each pair's arms.
    """
    names = [*comparison.arms, *comparison.than]
    if of_octaves(comparison):
        sides, lost = [_grid(experiment, name) for name in names], {}
    else:
        sides = [{run.seed: [run] for run in experiment[name].done} for name in names]
        diverged = {name: {run.seed for run in experiment[name].diverged} for name in names}
        ended = set.intersection(
            *({*side, *diverged[name]} for name, side in zip(names, sides, strict=True))
        )
        lost = {name: sorted(which & ended) for name, which in diverged.items() if which & ended}
    seeds, mixed, silent, runs, rows = [], [], [], [], []
    for seed in sorted(set.intersection(*map(set, sides))):
        of_seed = [side[seed] for side in sides]
        flat = [run for of_side in of_seed for run in of_side]
        row = _sides(comparison, of_seed)
        if row is None:
            silent.append(seed)
        elif _mixed(comparison, of_seed):
            mixed.append(seed)
        elif not np.isnan(row).any():  # of a column that the runs have
            seeds.append(seed)
            runs.append(flat)
            rows.append(row)
    values = np.array(rows, dtype=float).reshape(len(rows), -1 if rows else 2)
    first, second = values[:, [0, -1]].mean(0).tolist() if rows else (math.nan, math.nan)
    left, right = (-1, 0) if isinstance(comparison, Trend) else (0, -1)
    differences = (values[:, left] - values[:, right]).tolist()
    return Measured(seeds, first, second, values, differences, lost, mixed, silent, runs)


def _grid(experiment: Experiment, arm: str) -> dict[int, list[Run]]:
    """Takes an arm without a rate, returns its runs at all rates, by seed.

    Seeds below FRESH at which every rate of the grid was run; one at which it diverged was, too.
    """
    by_seed = defaultdict(list)
    for run in experiment.runs:
        if stem(run.arm) == arm and run.seed < FRESH:
            by_seed[run.seed].append(run)
    grid = {at_rate(arm, rate) for rate in RATES}
    return {seed: runs for seed, runs in by_seed.items() if grid <= {run.arm for run in runs}}


def _mixed(comparison: Pair | Trend, runs: list[list[Run]]) -> bool:
    """Whether arms that are compared ran on different processors."""
    count = len(comparison.arms)
    of_pairs = len(comparison.than) == count
    pairs = zip(runs[:count], runs[count:], strict=True) if of_pairs else [runs]
    return any(len({_processor(run) for side in pair for run in side}) > 1 for pair in pairs)


def _processor(run: Run) -> str:
    """What its arithmetic was done on; of one that went on elsewhere, all of that."""
    return str(run.info.get("machines_so_far") or run.processor)


def _sides(comparison: Pair | Trend, runs: list[list[Run]]) -> list[float] | None:
    """The statistic of each side's runs; None if they can tell nothing: see `Measured.silent`."""
    if of_octaves(comparison):
        ranges = [_octaves(comparison, of_side) for of_side in runs]
        if any(cut for _, cut in ranges):
            return None
        values = [width for width, _ in ranges]
    else:
        values = [statistic(comparison, run, base=runs[-1][0]) for (run,) in runs]
    if isinstance(comparison, Trend):
        return values
    if comparison.statistic.startswith("reach:") and values[-1] == 1:
        return None  # the base ends below its first epoch
    count = len(comparison.arms)
    second = np.mean(values[count:]) if comparison.than else comparison.number
    return [float(np.mean(values[:count])), float(second)]


def _octaves(comparison: Pair | Trend, runs: list[Run]) -> tuple[float, bool]:
    """Takes the runs of an arm at all its rates, returns the octaves of good ones, whether cut."""
    column = criterion(runs[0].experiment, task_module(runs[0].config["task"]))
    by_step = comparison.statistic == "octaves:mean_step"
    steps = [mean_step(run) if by_step else 1.0 for run in runs]
    steps = np.nan_to_num(steps, nan=1.0)  # of one that diverged at once it does not matter
    rates = [run.config["optimizer"]["lr"] for run in runs]
    return octaves(rates * steps, [last(run, column) for run in runs])


def statistic(comparison: Pair | Trend, run: Run, base: Run) -> float:
    """A comparison's statistic of a run (see conf/claims.yaml); `reach` compares with `base`."""
    kind, column = comparison.statistic.split(":")
    if column not in run.metrics:
        return math.nan
    curve = run.metrics[column]
    if kind in STATISTICS:
        return float(STATISTICS[kind](curve))
    if kind == "mean":
        evaluated = curve[~np.isnan(curve)]
        return float(evaluated.mean()) if len(evaluated) else math.nan
    goal = base.metrics[column][-1]
    reached = curve <= goal if comparison.column.falls else curve >= goal
    return float(run.metrics["epoch"][reached].min() if reached.any() else len(curve) + 1)


def collapsed(arm: Arm) -> bool:
    """Whether training has made an arm's runs worse: they end above their first epoch's loss."""
    if not arm.done or "train_loss" not in arm.done[0].metrics:
        return False
    curves = arm.curves("train_loss")
    curves = curves[~np.isnan(curves).any(1)]  # of epochs that were evaluated, in the toy
    return bool(len(curves) > 1 and curves[-1].mean() >= curves[0].mean())


@functools.cache
def published_values() -> dict[tuple[str, str], float]:
    """The paper's result of each experiment and arm."""
    files = dict.fromkeys(item.published for item in ITEMS.values() if item.published)
    rows = [row for name in files for row in published(name).itertuples()]
    return {(row.experiment, row.arm): row.value for row in rows if row.metric in MAIN_METRICS}


def right_images(run: Run) -> np.ndarray | None:
    """Which test images a run is right about, a bool for each; None if it kept them not."""
    path = run.folder / "correct.bin"
    if not path.exists():
        return None
    bits = np.unpackbits(np.fromfile(path, np.uint8))
    return bits[: run.info["data"]["test"]].astype(bool)


def image_interval(measured: Measured, pair: Pair | Trend) -> tuple[float, float]:
    """The test set's own uncertainty of a difference of last test accuracies, in points.

    A paired bootstrap over images at these seeds: the middle 95 % of the differences on sets of
    images drawn with replacement; NaN where a run did not keep which images it is right about.
    """
    count = len(pair.arms)
    sides = []
    for of_seed in measured.runs if pair.statistic == "last:test_accuracy" and pair.than else []:
        right = [right_images(run) for run in of_seed]
        if any(bits is None for bits in right):
            return math.nan, math.nan
        sides.append(np.mean(right[:count], 0) - np.mean(right[count:], 0))
    if not sides:
        return math.nan, math.nan
    by_image = 100 * np.mean(sides, 0)
    random = np.random.default_rng(0)
    means = [
        by_image[random.integers(len(by_image), size=len(by_image))].mean() for _ in range(_DRAWS)
    ]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
