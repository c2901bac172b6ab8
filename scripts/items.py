"""Items of the catalogue by the words of a command: a table, a figure, what stands for several."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

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


def item_options(
    about: str | None, names: Iterable[str], out: str, arguments: list[str] | None
) -> argparse.Namespace:
    """The command line of what is made of an item's runs: its table, or its figures."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("item", choices=[*names, "own"])
    parser.add_argument("--scale", default="paper", help="paper (default), mid, lite or smoke")
    parser.add_argument("--experiment", help="this one alone, or another than the item's")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path(out))
    options = parser.parse_args(arguments)
    if options.item == "own" and options.experiment is None:
        parser.error("own needs --experiment: the one whose own arms are to be shown")
    return options


def narrowed(item: Item) -> list[str]:
    """What a sweep's command line says of an item that is not the whole of it."""
    whole = ITEMS[item.sweep].experiments
    return [] if item.experiments == whole else [f"experiment={','.join(item.experiments)}"]


def sweeps_of(items: Iterable[Item], seeds: str) -> list[tuple[str, str, list[str]]]:
    """The sweeps of items that have runs, each with its seeds, its own if it has, and what narrows
    it."""
    return [
        (item.sweep, item.own_seeds or seeds, narrowed(item)) for item in items if item.experiments
    ]
