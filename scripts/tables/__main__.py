"""Tables from run folders, as csv, Markdown and LaTeX: `python -m scripts.tables table1`.

Writes <out>/<scale>/table1.{csv,md,tex} and prints the Markdown. The same runs give the same bytes.
`own --experiment X` shows the arms of X that are in none of the paper's tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.record.atomic import WriteError
from experiments.record.reader import Runs
from scripts.catalogue import ITEMS
from scripts.gather import Experiment, gather, read_item, require_runs
from scripts.item import Item, ResultError
from scripts.items import item_options
from scripts.tables import metrics, optimizers, rates, toy
from scripts.tables.formats import Table, markdown, write_table

LAYOUTS = {
    "optimizers": optimizers, "step": optimizers, "metrics": metrics, "rates": rates, "toy": toy
}  # fmt: skip


def table_of(item: Item, runs: Runs, scale: str) -> Table:
    """Takes an item and the runs of a scale, returns its table."""
    return LAYOUTS[item.layout].summary(item, experiments_of(item, runs), scale)


def write_table_of(item: Item, runs: Runs, out: Path, scale: str) -> None:
    """Write <out>/<scale>/<item>.{csv,md,tex} from the runs of a scale."""
    layout, experiments = LAYOUTS[item.layout], experiments_of(item, runs)
    table = layout.summary(item, experiments, scale)
    write_table(table, layout.frame(item, experiments, scale), out / scale)


def experiments_of(item: Item, runs: Runs) -> list[Experiment]:
    """Takes an item and the runs of a scale, returns its experiments with its arms."""
    return [gather(runs, name, item.arms()) for name in item.experiments]


def make_table(name: str, runs_dir: Path, out: Path, scale: str, experiment: str | None) -> str:
    """Write a table's three files and return its Markdown, of one experiment if one is named.

    The files hold all of the table's experiments whichever is named. Raises ResultError without
    a finished run.
    """
    item, runs = read_item(name, runs_dir, scale, experiment)
    asked = item.of_experiment(experiment) if experiment else item
    require_runs(experiments_of(asked, runs), runs_dir, scale, item)
    write_table_of(item, runs, out, scale)
    return markdown(table_of(asked, runs, scale))


def main(arguments: list[str] | None = None) -> None:
    tables = [name for name, item in ITEMS.items() if item.caption]
    options = item_options(__doc__, tables, "results/tables", arguments)
    places = options.runs_dir, options.out
    try:
        print(make_table(options.item, *places, options.scale, options.experiment))
    except (ResultError, WriteError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
