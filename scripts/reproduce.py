"""Make an item's runs, and then its table and figures: `python -m scripts.reproduce table1`.

The runs are a sweep of `experiments.run`, whose exit status comes last: what can be made of the
finished runs is made even if others have failed. At the paper's scale the plan
comes first: more than a day's work begins with --yes only. `all` makes every item and the report.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys

from experiments.configuration import choices
from experiments.identity import place_of, run_folder
from scripts.catalogue import FIGURES, ITEMS
from scripts.item import Item, ResultError
from scripts.items import items_of, narrowed, sweeps_of
from scripts.plan import PlanError, print_plan, states

DAY = 24  # hours
# Exit statuses of what a signal has ended, by itself or caught, as a shell has them
ENDED = {code: 128 + number for number in (2, 15) for code in (-number, 128 + number)}
# How each launcher is told that so many runs may go on at a time
AT_A_TIME = {
    "joblib": "hydra.launcher.n_jobs",
    "ray": "hydra.launcher.ray.init.num_cpus",
    "submitit_local": "hydra.sweeper.max_batch_size",
    "submitit_slurm": "hydra.launcher.array_parallelism",
}


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    status = 0
    try:
        items = items_of(options.item, options.experiment)
        if options.scale == "paper" and not options.yes:
            _require_less_than_a_day(items, options.seeds)
        for item in items:
            status = _make(item, _scale(item, options), options) or status
    except (PlanError, ResultError) as error:
        sys.exit(f"error: {error}")
    if options.item == "all":
        status = run_module("scripts.report") or status
    sys.exit(status)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, refused with a word before anything is made."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = dict.fromkeys([*ITEMS, *FIGURES, *(item.target for item in ITEMS.values()), "all"])
    items = [name for name in known if "-" not in name]
    parser.add_argument("item", choices=items, metavar="item", help=", ".join(items))
    parser.add_argument("--scale", default="paper", choices=choices("scale"))
    parser.add_argument("--seeds", default="0,1,2", help="separated by commas")
    parser.add_argument("--launcher", default="basic", help="of Hydra: joblib, submitit_slurm, …")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, but with basic")
    parser.add_argument("--experiment", choices=choices("experiment"), help="this one alone")
    parser.add_argument("--yes", action="store_true", help="begin more than a day's work")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"\d+(,\d+)*", options.seeds):
        parser.error(f"--seeds must be numbers separated by commas, as 0,1,2, got {options.seeds}")
    if not re.fullmatch(r"\w+", options.launcher):
        parser.error(f"--launcher must be a launcher of Hydra, as joblib, got {options.launcher}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    return options


def _scale(item: Item, options: argparse.Namespace) -> str:
    """With everything at lite scale, the toy is at the paper's: it is small enough."""
    small = options.item == "all" and options.scale == "lite" and item.layout == "toy"
    return "paper" if small else options.scale


def _require_less_than_a_day(items: list[Item], seeds: str) -> None:
    """Print the plan of the items; end the command if it takes more than a day."""
    runs = print_plan(sweeps_of(items, seeds), "paper", download=True)
    if sum(run.hours or 0.0 for run in runs) > DAY:
        sys.exit("error: more than a day's work on this machine: repeat with YES=1 to begin")


def _make(item: Item, scale: str, options: argparse.Namespace) -> int:
    """Run an item's sweep, make its table and figures, and return the exit status."""
    if not item.experiments:
        return run_module("scripts.figures", *item.figures)
    seeds = item.own_seeds or options.seeds
    sweep = [f"+sweep={item.sweep}", *narrowed(item), f"seed={seeds}", f"scale={scale}"]
    sweep += launcher_words(options.launcher, options.jobs)
    swept = run_module("experiments.run", *sweep)
    how = ["--scale", scale]
    how += ["--experiment", *item.experiments] if narrowed(item) else []
    made = run_module("scripts.tables", item.sweep, *how) if item.caption else 0
    if item.figures:
        made = made or run_module("scripts.figures", item.sweep, *how)
    if swept == 0 and (lacking := _lacking(item, scale, seeds)):
        print(f"error: not made: {', '.join(lacking)}", file=sys.stderr)
        return 1
    return swept or made


def launcher_words(launcher: str, jobs: int) -> list[str]:
    """How a sweep is told its launcher, and how many runs may go on at a time."""
    words = [f"hydra/launcher={launcher}"]
    return words + ([f"{AT_A_TIME[launcher]}={jobs}"] if launcher in AT_A_TIME else [])


def _lacking(item: Item, scale: str, seeds: str) -> list[str]:
    """The runs of a sweep without a result, as those that another process is at work on."""
    runs = states(item.sweep, scale, seeds, narrowed(item))
    return [place_of(run_folder(config)) for config, done in runs if not done]


def run_module(module: str, *words: str) -> int:
    """Run a module of the suite, show its command, and return its exit status.

    Signals are the module's, which may have a checkpoint to write: one that they have ended ends
    this command too.
    """
    print(f"+ python -m {shlex.join([module, *words])}", file=sys.stderr, flush=True)
    process = subprocess.Popen([sys.executable, "-m", module, *words])
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),  # a terminal's is for both
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code in ENDED:
        sys.exit(ENDED[code])
    return code


if __name__ == "__main__":
    main()
