"""Of the report: the runs that tables and figures lack, the command for them, and its cost."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from itertools import product

from experiments.record.reader import Run
from scripts.catalogue import ITEMS
from scripts.item import Item
from scripts.report.results import Results
from scripts.tables.formats import pipes
from scripts.verdicts.claim import Claim

SEEDS = (0, 1, 2)  # that the make targets run unless told otherwise
_HEADER = ["Item", "Scale", "Runs missing", "Arms", "Cost", "Command"]


def missing(results: Results, whole: str) -> str:
    """What tables and figures lack at the `whole` scale, and at others where it was begun."""
    rows = [
        row
        for item in ITEMS.values()
        if item.in_report
        for experiment in item.experiments
        for row in _rows(item, experiment, results, whole)
    ]
    if not rows:
        return "Nothing."
    return (
        f"{pipes(_HEADER, rows)}\n\nCost is from the mean training time of the experiment's "
        "finished runs at that scale; where there are none, the plan measures a few steps on the "
        "machine at hand. Items share runs, which are made once. What would take more than a day "
        "on a machine without a GPU begins with YES=1 only, which is to be added to the command."
    )


def command(item: Item, experiment: str, scale: str) -> str:
    """The make target that runs what an item lacks."""
    narrowed = f" EXPERIMENT={experiment}" if len(ITEMS[item.sweep].experiments) > 1 else ""
    return f"make reproduce-{item.target} SCALE={scale}{narrowed} LAUNCHER=joblib"


def command_of(claim: Claim, scale: str) -> str:
    """What makes the runs of a claim: its sweep, or else the runner itself."""
    if claim.sweep is not None:
        return command(ITEMS[claim.sweep], claim.experiment, scale)
    seeds = ",".join(map(str, SEEDS))
    words = [*own_words(claim), f"scale={scale}", f"seed={seeds}"]
    return f"python -m experiments.run -m {' '.join(words)}"


def own_words(claim: Claim) -> list[str]:
    """What the runner is told of a claim without a sweep: its optimizers, and LRD at its p."""
    optimizers = dict.fromkeys(arm.partition("+")[0] for arm in claim.arms)
    words = {word for arm in claim.arms for word in arm.split("+")[1:]}
    masks = sorted(word.removeprefix("lrd") for word in words if word.startswith("lrd"))
    lrd = ["lrd.enabled=true", f"lrd.p=1,{','.join(masks)}"] if masks else []
    return [f"experiment={claim.experiment}", f"optimizer={','.join(optimizers)}", *lrd]


def _rows(item: Item, experiment: str, results: Results, whole: str) -> Iterator[list[str]]:
    """An item's rows, the `whole` scale last."""
    wanted = [*product(item.arms(), item.seeds or SEEDS)]
    for scale in sorted({*results.runs, whole}, key=lambda scale: (scale == whole, scale)):
        runs = results.finished(scale) if scale in results.runs else []
        runs = [run for run in runs if run.experiment == experiment]
        made = {(run.arm, run.seed) for run in runs}
        lacking = [key for key in wanted if key not in made]
        if lacking and (scale == whole or len(lacking) < len(wanted)):
            yield [
                f"{item.sweep}, {experiment}",
                scale,
                f"{len(lacking)} of {len(wanted)}",
                _arms(lacking),
                _cost(runs, len(lacking), item.target),
                f"`{command(item, experiment, scale)}`",
            ]


def _arms(lacking: Iterable[tuple[str, int]]) -> str:
    """`adam+sd0.9 (seed 1, 2), sgdm (seed 0, 1, 2)`, cut after four arms."""
    by_arm: dict[str, list[str]] = {}
    for arm, seed in lacking:
        by_arm.setdefault(arm, []).append(str(seed))
    words = [f"{arm} (seed {', '.join(seeds)})" for arm, seeds in by_arm.items()]
    more = f" and {len(words) - 4} more" if len(words) > 4 else ""
    return ", ".join(words[:4]) + more


def _cost(runs: list[Run], count: int, target: str) -> str:
    if not runs:
        return f"`make plan-{target}`"
    return f"{count * statistics.fmean(run.info['seconds'] for run in runs) / 3600:.1f} core-hours"
