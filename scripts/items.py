"""Items of the catalogue by the words of a command: a table, a figure, what stands for several."""

from __future__ import annotations

from dataclasses import replace

from scripts.catalogue import FIGURES, ITEMS
from scripts.item import Item


def items_of(name: str, experiment: str | None) -> list[Item]:
    """Takes an item's, a figure's or a target's name, or `all`, returns items of an experiment.

    Those of several that cannot be made of it are left out. Raises ResultError if none can.
    """
    if name == "all":
        items = [item for item in ITEMS.values() if item.in_report and item.experiments]
    elif name in ITEMS or name in FIGURES:
        items = [item_named(name)]
    else:
        items = [item for item in ITEMS.values() if item.target == name]
    if experiment is None:
        return items
    able = [item for item in items if item.can_be_of(experiment)] or items[:1]
    return [item.of_experiment(experiment) for item in able]


def item_named(name: str) -> Item:
    """Takes the name of an item, or of a figure: the item with this figure alone."""
    if name in ITEMS:
        return ITEMS[name]
    item = ITEMS[FIGURES[name]]
    shown = item.figures[name]
    return replace(item, figures={name: shown}, experiments=(shown,) if shown else ())


def narrowed(item: Item) -> list[str]:
    """What a sweep's command line says of an item that is not the whole of it."""
    whole = ITEMS[item.sweep].experiments
    return [] if item.experiments == whole else [f"experiment={','.join(item.experiments)}"]
