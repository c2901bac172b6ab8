"""Every figure, from run folders or computed: `python -m scripts.figures figure5`.

Writes <out>/<scale>/<figure>.{png,pdf}, and what needs no runs to <out>. The name of a table draws
its figures; `own --experiment X` draws the arms of X that are in none. The same runs give the same
bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.record.atomic import WriteError
from experiments.record.reader import Runs
from scripts.catalogue import FIGURES, ITEMS
from scripts.figures import toy
from scripts.figures.curves import learning_curves
from scripts.figures.method import DRAWINGS
from scripts.figures.rates import rate_curves
from scripts.figures.readme import draw_lrd
from scripts.figures.step import step_curves
from scripts.figures.style import STYLE, save
from scripts.gather import Experiment, gather, read_item, require_runs
from scripts.item import HALF_RATE, Item, ResultError
from scripts.items import item_options


def write_figures_of(item: Item, runs: Runs, out: Path, scale: str) -> list[Path]:
    """Write the figures of an item from the runs of a scale; returns their paths.

    An experiment without a finished run has no figure.
    """
    folder = out if item.layout == "drawing" else out / scale
    experiments = [gather(runs, name, shown_arms(item)) for name in item.experiments]
    paths = []
    with mpl.rc_context(STYLE):
        for name, figure in drawn(item, experiments, scale).items():
            alone = name == "lrd" or name.endswith("-predictions")  # shown on pages only
            paths += save(figure, folder / name, ("png",) if alone else ("png", "pdf"))
    return paths


def shown_arms(item: Item) -> list[str]:
    """The item's arms, and their bases at half the rate, where its figure shows them."""
    beside = item.optimizers if item.layout != "step" else ()
    return [*item.arms(), *(name + HALF_RATE for name in beside)]


def drawn(item: Item, experiments: list[Experiment], scale: str) -> dict[str, Figure]:
    """The item's figures by name; of some that cannot be drawn it is said why.

    Raises ResultError if none can be drawn of runs that are there.
    """
    run = {experiment.name: experiment for experiment in experiments if experiment.runs}
    figures, reasons = {}, {}
    for name, draw in _drawers(item, run, scale).items():
        try:
            figures[name] = draw()
        except ResultError as error:
            reasons[name] = error
    if reasons and not figures:
        raise next(iter(reasons.values()))
    for name, reason in reasons.items():
        print(f"{reason}: {name}.png is not made", file=sys.stderr)
    return figures


def _drawers(item: Item, run: dict[str, Experiment], scale: str) -> dict[str, Callable[[], Figure]]:
    """What draws each figure of an item, of the experiments that were run."""
    if item.layout == "drawing":
        draw = {**DRAWINGS, "lrd": draw_lrd}
        return {name: draw[name] for name in item.figures}
    figures = {name: run[of] for name, of in item.figures.items() if of in run}
    if item.layout == "toy":
        draw = {"figure4": toy.draw_paths, "figure4-basins": toy.draw_basins}
        return {name: partial(draw[name], of, scale) for name, of in figures.items()}
    if item.layout == "optimizers":
        # of a smaller net or a shorter training, curves have nothing in common with the authors'
        return {
            name: partial(learning_curves, item, of, scale, (scale, name) == ("paper", "figure6"))
            for name, of in figures.items()
        }
    curves = {"step": step_curves, "rates": rate_curves}.get(item.layout)
    if curves is not None:
        return {name: partial(curves, item, of, scale) for name, of in figures.items()}
    from scripts.figures import voc  # loads torchvision, which takes a second

    drawers = {}
    for name, of in figures.items():
        drawers[name] = partial(voc.learning_curves, item, of, scale)
        drawers[f"{name}-predictions"] = partial(voc.pictures, item, of)
    return drawers


def make_figures(
    name: str, runs_dir: Path, out: Path, scale: str, experiment: str | None
) -> list[Path]:
    """Write a figure, or all of an item, and return the paths.

    Curves of another experiment than the figure's go to <name>-<experiment>. Raises ResultError
    without a finished run.
    """
    item, runs = read_item(name, runs_dir, scale, experiment)
    if item.layout != "drawing":
        item = item.of_experiment(experiment) if experiment else item
        shown = dict.fromkeys(item.figures.values())
        experiments = [gather(runs, of, shown_arms(item)) for of in shown]
        require_runs(experiments, runs_dir, scale, item)
    return write_figures_of(item, runs, out, scale)


def main(arguments: list[str] | None = None) -> None:
    names = dict.fromkeys([*FIGURES, *(name for name, item in ITEMS.items() if item.figures)])
    options = item_options(__doc__, names, "results/figures", arguments)
    places = options.runs_dir, options.out
    try:
        paths = make_figures(options.item, *places, options.scale, options.experiment)
    except (ResultError, WriteError) as error:
        sys.exit(f"error: {error}")
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
