"""Make an item's runs, and then its table and figures: `python -m scripts.reproduce table1`.

The runs are a sweep of `experiments.run`, whose exit status comes last: what can be made of the
finished runs is made even if others have failed. At the paper's scale and without a GPU the plan
comes first: more than a day's work begins with --yes only. `all` makes every item and the report.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from scripts.catalogue import ITEMS, Item
from scripts.plan import PlanError, runs_of, summary

CONF = Path(__file__).parent.parent / "conf"
DAY = 24  # hours
# How each launcher is told that so many runs may go on at a time
AT_A_TIME = {
    "joblib": "hydra.launcher.n_jobs",
    "ray": "hydra.launcher.ray.init.num_cpus",
    "submitit_local": "hydra.sweeper.max_batch_size",
    "submitit_slurm": "hydra.launcher.array_parallelism",
}


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    items = _items(options)
    if options.scale == "paper" and not options.yes and not torch.cuda.is_available():
        _require_less_than_a_day(items, options)
    status = 0
    for item in items:
        status = _make(item, options) or status
    if options.item == "all":
        status = _run("scripts.report") or status
    sys.exit(status)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, refused with a word before anything is made."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [item.name for item in ITEMS.values() if item.name == item.sweep]
    names += [figure for item in ITEMS.values() for figure in item.figures]
    parser.add_argument("item", choices=[*dict.fromkeys(names), "all"], metavar="item")
    parser.add_argument("--scale", default="paper", choices=_names("scale"))
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    parser.add_argument("--launcher", default="basic", help="of Hydra: joblib, submitit_slurm, …")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, but with basic")
    parser.add_argument("--experiment", choices=_names("experiment"), help="this one alone")
    parser.add_argument("--yes", action="store_true", help="begin more than a day's work")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"\d+(,\d+)*", options.seeds):
        parser.error(f"--seeds must be numbers separated by commas, as 0,1,2, got {options.seeds}")
    if not re.fullmatch(r"\w+", options.launcher):
        parser.error(f"--launcher must be a launcher of Hydra, as joblib, got {options.launcher}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    return options


def _names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _items(options: argparse.Namespace) -> list[Item]:
    """The items that are asked for, each narrowed to the experiments that are."""
    if options.item == "all":
        # the paper's own and the suite's questions; drawings are made without runs
        items = [item for item in ITEMS.values() if item.in_report and item.experiments]
    elif options.item in ITEMS:
        items = [ITEMS[options.item]]
    else:  # a figure that has not its item's name: the item, on the figure's experiment
        items = [item.of_figure(options.item) for item in ITEMS.values() if options.item in item.figures]
    if options.experiment:
        items = [item.of_experiment(options.experiment) for item in items]
    return items


def _require_less_than_a_day(items: list[Item], options: argparse.Namespace) -> None:
    """Print the plan of the items; end the command if it takes more than a day."""
    runs = []
    for item in items:
        if not item.experiments:
            continue
        narrowed = [f"experiment={','.join(item.experiments)}"]
        try:
            planned = runs_of(item.sweep, options.scale, options.seeds, narrowed, download=True)
            runs += [run for run in planned if run.name not in {other.name for other in runs}]
        except PlanError as error:
            sys.exit(f"error: {error}")
    print(*runs, summary(runs), sep="\n", flush=True)
    if sum(run.hours or 0.0 for run in runs) > DAY:
        sys.exit("error: more than a day's work on this machine: repeat with YES=1 (--yes) to begin")


def _make(item: Item, options: argparse.Namespace) -> int:
    """Run an item's sweep, make its table and figures, and return the exit status."""
    if not item.experiments:
        return _run("scripts.figures", item.name)
    # toy runs are small enough for the paper's scale everywhere
    scale = "paper" if (item.layout, options.scale) == ("toy", "lite") else options.scale
    words = [f"+sweep={item.sweep}", f"seed={options.seeds}", f"scale={scale}"]
    words += [f"experiment={','.join(item.experiments)}", f"hydra/launcher={options.launcher}"]
    if options.launcher in AT_A_TIME:
        words.append(f"{AT_A_TIME[options.launcher]}={options.jobs}")
    swept = _run("experiments.run", *words)
    narrowed = ["--experiment", options.experiment] if options.experiment else []
    made = 0
    if item.caption:
        made = _run("scripts.tables", item.sweep, "--scale", scale, *narrowed)
    for figure in item.figures:
        made = made or _run("scripts.figures", figure, "--scale", scale)
    return swept or made


def _run(module: str, *words: str) -> int:
    """Run a module of the suite, show its command, and return its exit status."""
    print(f"+ python -m {shlex.join([module, *words])}", file=sys.stderr, flush=True)
    return subprocess.run([sys.executable, "-m", module, *words], check=False).returncode


if __name__ == "__main__":
    main()
