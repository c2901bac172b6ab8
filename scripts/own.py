"""Arms that no item of the catalogue shows: the user's own, and the items that are made of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from experiments.configuration import Config
from experiments.record.reader import Run
from experiments.tasks import required_columns
from scripts.catalogue import ITEMS
from scripts.item import OPTIMIZERS, Item, arms_of
from scripts.titles import title

_SHOWN = arms_of(ITEMS.values())


def own_arms(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Takes runs, returns by experiment the arms of finished ones that no item shows."""
    arms: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        if run.finished and (run.experiment, run.arm) not in _SHOWN:
            arms[run.experiment].add(run.arm)
    return {experiment: sorted(names) for experiment, names in arms.items()}


def own_items(runs: Iterable[Run]) -> list[Item]:
    """Takes the runs of a scale, returns an item for each experiment with arms of the user's own.

    It shows these arms and the base arms of their optimizers.
    """
    configs: dict[str, list[Config]] = defaultdict(list)
    runs = [run for run in runs if run.finished]
    for run in runs:
        configs[run.experiment].append(run.config)
    items = []
    for experiment, arms in own_arms(runs).items():
        of_runs = configs[experiment]
        task = Counter(config["task"] for config in of_runs).most_common(1)[0][0]
        names = {arm.partition("+")[0] for arm in arms}
        suffixes = sorted({arm.partition("+")[2] for arm in arms} - {""})
        known = [name for name in OPTIMIZERS if name in names]
        items.append(
            Item(
                name=f"own-{experiment}",
                heading=f"Not in the paper: own runs of {title(experiment, of_runs)}",
                caption=f"{{result}} of own runs, and of their base optimizers ({experiment})",
                experiments=(experiment,),
                optimizers=(*known, *sorted(names - set(known))),
                methods={"base": "", **{suffix: f"+{suffix}" for suffix in suffixes}},
                figures={f"own-{experiment}": experiment},
                columns=required_columns(task),
                optimizers_across=True,
            )
        )
    return items


def outside_report(own: Iterable[Item]) -> set[tuple[str, str]]:
    """Takes the items of own runs, returns experiments and arms that the report leaves out: the
    demo's, but for those that stand in these items."""
    demo = arms_of(item for item in ITEMS.values() if not item.in_report)
    return demo - arms_of(own)
