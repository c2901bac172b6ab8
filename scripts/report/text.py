"""The text of the report, section by section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from experiments.record.faults import FINISHED
from experiments.record.reader import Run, Runs
from scripts.catalogue import ITEMS, Item
from scripts.report.missing import cost_model, missing
from scripts.report.verdicts import SCALES, Results, verdict_counts, verdict_table
from scripts.tables.__main__ import table_of
from scripts.tables.formats import markdown, pipes
from scripts.titles import title as title_of


def report(results: Results) -> str:
    """The report as Markdown, with paths relative to the results folder."""
    parts = [
        "# What holds of Learning Rate Dropout",
        _summary(results),
        "## Verdicts",
        verdict_table(results),
        "## Results beside the published numbers",
        *(_section(results, item) for item in _items("optimizers", "metrics", "toy")),
        "## What is missing",
        missing(results.runs, SCALES[0]),
        "## What the paper's scale would cost",
        cost_model(),
        "## Speed",
        _speed(results.folder),
        "## Drawings of the method",
        *(
            _picture(f"figures/{name}.png", item.heading)
            for item in _items("drawing")
            for name in item.figures
        ),
        "## Runs",
        *_run_lists(results),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _runs(results: Results, experiment: str, scale: str) -> list[Run]:
    return [run for run in results.runs[scale] if run.experiment == experiment]


def _scales(results: Results, experiment: str, arms: Iterable[str]) -> list[str]:
    """The scales at which some arms of an experiment are shown: the first at which they have been
    run, and the next as well while one of them is missing there."""
    wanted, found = set(arms), []
    for scale in SCALES:
        runs = _runs(results, experiment, scale)
        there = {run.arm for run in runs if run.status in FINISHED} & wanted
        found += [scale] if there else []
        if there == wanted:
            break
    return found


def _picture(path: str, text: str) -> str:
    return f"![{text}]({path})"


def _summary(results: Results) -> str:
    runs = [run for each in results.runs.values() for run in each if run.status in FINISHED]
    scales = [
        f"{sum(run.status in FINISHED for run in found)} at {scale} scale"
        for scale, found in results.runs.items()
        if found
    ]
    machines = sorted({run.info.get("cpu") or run.info["device"] for run in runs})
    return (
        "LRD is learning rate dropout with p = 0.5, unless it says otherwise; the base is the "
        "same optimizer without it, at the same seed: the same initial weights, order and "
        f"augmentation. {verdict_counts(results)} An experiment is shown at the paper's scale "
        "where it was run at that, else at lite scale: the same code with narrower nets, fewer "
        "images and fewer epochs, which can suggest what happens at full size and cannot prove "
        "it.\n\n"
        f"Made from {len(runs)} finished runs ({', '.join(scales)}) on {' and '.join(machines)}; "
        "every number comes from a run folder, listed at the end with its processor and commit, "
        "and `make report` makes this page anew from them. Links lead into the repository's "
        "`results` folder. Two runs of one seed on different processors differ by rounding, which "
        "training amplifies: where the sides of a pair were run on different ones, that is in the "
        "spread of the differences."
    )


def _items(*layouts: str) -> list[Item]:
    return [item for item in ITEMS.values() if item.layout in layouts and item.in_report]


def _section(results: Results, item: Item) -> str:
    """An item's tables, one for each scale at which its experiments are shown, and its figures."""
    parts = [f"### {item.heading}"]
    at = {name: _scales(results, name, item.arms()) for name in item.experiments}
    for scale in SCALES:
        shown = tuple(name for name, scales in at.items() if scale in scales)
        if item.caption and shown:
            runs = Runs(results.runs[scale], [])
            parts.append(markdown(table_of(replace(item, experiments=shown), runs, scale)))
        if item.layout != "optimizers":
            parts += [_figure(results, *each, scale) for each in item.figures.items() if shown]
    if item.layout == "optimizers":
        for figure, experiment in item.figures.items():
            parts += [_figure(results, figure, experiment, scale) for scale in at[experiment]]
    absent = [title_of(name) for name, scales in at.items() if not scales]
    if absent and len(at) == len(absent) == 1 and item.layout != "optimizers":
        parts.append("Not run.")
    elif absent:
        parts.append(f"Not run: {', '.join(absent)}.")
    return "\n\n".join(part.strip("\n") for part in parts if part)


_TOY = {"figure4": "paths over the contour", "figure4-basins": "share of starts by basin"}


def _figure(results: Results, name: str, experiment: str, scale: str) -> str:
    """A figure of an experiment at a scale; nothing if there is none."""
    path = f"figures/{scale}/{name}.png"
    if not (results.folder / path).exists():
        return ""
    number = name.removeprefix("figure").removesuffix("-basins")
    what = f"Figure {number}" if number.isdecimal() else name.capitalize()
    return _picture(path, f"{what}, {_TOY.get(name) or title_of(experiment)}, scale {scale}")


def _speed(folder: Path) -> str:
    if not (folder / "benchmark.md").exists():
        return "Not measured: `make benchmark`."
    picture = _picture("benchmark.png", "Measured speed against the goals")
    shown = f"\n\n{picture}" if (folder / "benchmark.png").exists() else ""
    return f"Times and ratios, side by side in one run: [benchmark](benchmark.md).{shown}"


def _run_lists(results: Results) -> Iterator[str]:
    """A folded table of every run, by scale and experiment."""
    for scale, runs in results.runs.items():
        for experiment in dict.fromkeys(run.experiment for run in runs):
            found = [run for run in runs if run.experiment == experiment]
            header = ["Run", "Status", "Last epoch", "Seconds", "Device", "Commit"]
            title = f"{title_of(experiment)}, {scale} scale: {len(found)} runs"
            rows = [_run_row(run) for run in found]
            yield f"<details>\n<summary>{title}</summary>\n\n{pipes(header, rows)}\n\n</details>"


def _run_row(run: Run) -> list[str]:
    last = "" if run.metrics.empty else _numbers(run)
    folder = f"{run.scale}/{run.experiment}/{run.arm}/seed{run.seed}"
    info, device = run.info, ""
    if "device" in info:
        device = f"{info.get('cpu') or info['device']}, {info['threads']} thread"
    return [
        f"[{run.arm}, seed {run.seed}](runs/{folder})",
        run.status,
        last,
        f"{run.info.get('seconds', 0):.0f}",
        device,
        str(run.info.get("commit", ""))[:10],
    ]


def _numbers(run: Run) -> str:
    last = run.metrics.drop(columns=["epoch", "lr"]).iloc[-1]
    return ", ".join(f"{name} {value:.5g}" for name, value in last.items())
