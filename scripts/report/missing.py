"""Of the report: the runs that are missing, and what they would cost."""

from __future__ import annotations

from experiments.record.reader import Run
from scripts.report import costs, gaps
from scripts.tables.formats import pipes
from scripts.titles import title


def missing(runs: dict[str, list[Run]], whole: str) -> str:
    """What the tables and figures lack at the `whole` scale, and at others at which they have been
    begun, the command for it, and its cost. `runs` are by scale."""
    rows = []
    for wanted in gaps.wanted():
        for scale in sorted(runs, key=lambda scale: scale == whole):
            lacking = wanted.missing(runs[scale])
            if lacking and (scale == whole or len(lacking) < wanted.runs):
                took = gaps.seconds_of_a_run(runs[scale], wanted.experiment)
                rows.append(
                    [
                        f"{wanted.sweep}, {wanted.experiment}",
                        scale,
                        f"{len(lacking)} of {wanted.runs}",
                        _arms(lacking),
                        _cost(wanted.experiment, scale == whole, len(lacking), took),
                        f"`{wanted.command(scale)}`",
                    ]
                )
    if not rows:
        return "Nothing."
    header = ["Item", "Scale", "Runs missing", "Arms", "Cost", "Command"]
    return (
        f"{pipes(header, rows)}\n\nCost in core-hours is from the mean training time of the "
        "experiment's finished runs at that scale; in GPU-hours from the model below. Items share "
        "runs, which are made once. What would take more than a day on a machine without a GPU "
        "begins with YES=1 only, which is to be added to the command."
    )


def _arms(lacking: list[tuple[str, int]]) -> str:
    """`adam+sd0.9 (seed 1, 2), sgdm (seed 0, 1, 2)`, cut after four arms."""
    by_arm: dict[str, list[str]] = {}
    for arm, seed in lacking:
        by_arm.setdefault(arm, []).append(str(seed))
    words = [f"{arm} (seed {', '.join(seeds)})" for arm, seeds in by_arm.items()]
    more = f" and {len(words) - 4} more" if len(words) > 4 else ""
    return ", ".join(words[:4]) + more


def _cost(experiment: str, whole: bool, count: int, took: float | None) -> str:
    if took is not None:
        return f"{count * took / 3600:.1f} core-hours"
    if whole and experiment in costs.IMAGES:
        return f"{count * costs.estimate(experiment).hours:.0f} GPU-hours"
    return "unknown"


def cost_model() -> str:
    """What each item would cost at the paper's scale."""
    rows, seen, all_hours = [], set(), 0.0
    for wanted in gaps.wanted():
        if wanted.experiment not in costs.IMAGES:
            continue
        each = costs.estimate(wanted.experiment)
        new = {(wanted.experiment, arm) for arm in wanted.arms} - seen
        seen |= new
        runs = len(new) * len(gaps.SEEDS)
        all_hours += runs * each.hours
        name = f"{wanted.sweep}, {title(wanted.experiment)}"
        numbers = [f"{each.forward / 1e9:.3g}", f"{each.hours:.2g}", str(runs)]
        rows.append([name, *numbers, f"{runs * each.hours:,.0f}"])
    rows.append(["all", "", "", str(len(seen) * len(gaps.SEEDS)), f"{all_hours:,.0f}"])
    header = ["Item", "GFLOP an image, forward", "GPU-hours a run", "Runs", "GPU-hours"]
    return (
        f"{pipes(header, rows)}\n\nAn estimate, not a measurement: {costs.ASSUMED} The seeds are "
        f"{', '.join(map(str, gaps.SEEDS))}; runs that an item above has already are not counted "
        "again. `make plan-table1` measures a few steps on the machine at hand instead."
    )
