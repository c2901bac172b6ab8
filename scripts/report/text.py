"""The text of the report, section by section."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from urllib.parse import quote

from experiments.record.reader import Run
from scripts.item import OPTIMIZERS, Item
from scripts.report.markup import literal, picture
from scripts.report.missing import missing
from scripts.report.results import SCALES, Results
from scripts.report.verdicts import plain_lines, verdict_sections
from scripts.tables.__main__ import table_of
from scripts.tables.formats import MISSING, markdown, pipes
from scripts.titles import anchor, title
from scripts.verdicts import ends, regime, share
from scripts.verdicts.claim import LEAST_SEEDS
from scripts.verdicts.judge import judged

_TOY = {"figure4": "paths over the contour", "figure4-basins": "share of starts by basin"}


def report(results: Results) -> str:
    """The report as Markdown, with paths relative to the results folder."""
    drawings = [item for item in results.items if item.layout == "drawing"]
    sections = [
        "# What holds of Learning Rate Dropout",
        *_answers(results),
        plain_lines(results),
        "## Is it the mask, or the smaller step?",
        *_shares(results),
        *_ends(results),
        "## Contents",
        "",  # which is filled in below
        "## How this was made",
        _summary(results),
        "## Claims, family by family",
        *verdict_sections(results),
        "## Results beside the published numbers",
        *(_section(results, item) for item in results.items if item.experiments),
        "## What is missing",
        missing(results, SCALES[0]),
        *_left_out(results),
        "## Speed",
        _speed(results.folder),
        "## Drawings of the method",
        *(
            picture(f"figures/{name}.png", item.heading)
            for item in drawings
            for name in item.figures
        ),
        "## Runs",
        *_run_lists(results),
    ]
    sections[sections.index("## Contents") + 1] = _contents(sections)
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _contents(sections: list[str]) -> str:
    """Links to the headings."""
    heads = [section.partition("\n")[0] for section in sections if section.startswith("##")]
    titles = [head.partition(" ") for head in heads]
    return "\n".join(
        f"{'  ' if mark == '###' else ''}- [{name}](#{anchor(name)})"
        for mark, _, name in titles
        if name != "Contents"
    )


def _answers(results: Results) -> Iterator[str]:
    """What the suite asks, in pictures: the mask or the step, and best against best."""
    step = next(item for item in results.items if item.name == "step")
    for figure, experiment in step.figures.items():
        for scale in results.scales_of(experiment, step.arms()):
            (base,) = (OPTIMIZERS[name] for name in step.optimizers)
            text = f"{base} with LRD beside {base} at half the rate, over the mean step, "
            text += f"{results.title(experiment, scale)}, scale {scale}"
            yield picture(f"figures/{scale}/{figure}.png", text)
    for scale, verdicts in results.verdicts.items():
        if any(verdict.claim.best_against_best for verdict in judged(verdicts, scale)):
            text = "Best against best: each arm at the rate chosen for it with other seeds and data"
            yield picture(f"figures/{scale}/best.png", f"{text}, scale {scale}")


def _shares(results: Results) -> Iterator[str]:
    for scale, rows in results.shares.items():
        if any(row["n"] >= LEAST_SEEDS for row in rows):
            text = f"LRD, the base, and the base at LRD's mean step, pair by pair, scale {scale}"
            yield picture(f"figures/{scale}/share.png", text)
        if rows:
            yield markdown(share.table(rows, scale)[0])


def _ends(results: Results) -> Iterator[str]:
    """Whether training has come to an end: at which bases, and which runs."""
    tables = [regime.table(results.runs[regime.SCALE]) if regime.SCALE in results.runs else None]
    tables += [ends.table(runs, scale) for scale, runs in results.runs.items()]
    if shown := [markdown(table) for table in tables if table]:
        yield from ("## How training ends", *shown)


def _summary(results: Results) -> str:
    finished = {scale: results.finished(scale) for scale in results.runs}
    runs = [run for of_scale in finished.values() for run in of_scale]
    counts = [f"{len(of_scale)} at {scale} scale" for scale, of_scale in finished.items()]
    machines = sorted({literal(run.processor) for run in runs})
    return (
        "LRD is learning rate dropout with p = 0.5, unless it says otherwise; the base is the "
        "same optimizer without it, at the same seed: the same initial weights, order and "
        "augmentation. Scales below the paper's are the same code with narrower nets, fewer images "
        "and fewer epochs, which can suggest what happens at full size and cannot prove it.\n\n"
        f"Made from {len(runs)} finished runs ({', '.join(counts)}) on {' and '.join(machines)}. "
        "Every number comes from a run folder, listed at the end with its processor and commit; "
        "`make report` makes this page anew from them. Two runs of one seed on different "
        "processors differ by rounding, which training amplifies: pairs whose sides were run on "
        "different ones are left out of the comparisons."
    )


def _section(results: Results, item: Item) -> str:
    """An item's tables, one for each scale at which its experiments are shown, and its figures."""
    blocks = [f"### {literal(item.heading)}"]
    scales = {name: results.scales_of(name, item.arms()) for name in item.experiments}
    for scale, runs in results.runs.items():
        shown = tuple(name for name in item.experiments if scale in scales[name])
        if item.caption and shown:
            blocks.append(markdown(table_of(replace(item, experiments=shown), runs, scale)))
    if item.layout != "step":  # whose figure leads the report
        for figure, experiment in item.figures.items():
            blocks += [_figure(results, figure, experiment, scale) for scale in scales[experiment]]
    if absent := [literal(title(name)) for name in item.experiments if not scales[name]]:
        blocks.append(f"Not run: {', '.join(absent)}.")
    return "\n\n".join(block.strip("\n") for block in blocks)


def _figure(results: Results, name: str, experiment: str, scale: str) -> str:
    """A figure of an experiment at a scale."""
    number = name.removeprefix("figure").removesuffix("-basins")
    what = f"Figure {number}" if number.isdecimal() else name.capitalize()
    text = f"{what}, {_TOY.get(name) or results.title(experiment, scale)}, scale {scale}"
    return picture(f"figures/{scale}/{name}.png", text)


def _left_out(results: Results) -> Iterator[str]:
    """The folders that nothing is made from, and why; nothing if there are none."""
    if folders := results.left_out():
        yield "## Left out"
        yield "\n".join(
            f"- {literal('/'.join(run.folder.parts[-4:]))}: {literal(run.reason)}"
            for run in folders
        )


def _speed(folder: Path) -> str:
    if not (folder / "benchmark.md").exists():
        return "Not measured: `make benchmark`."
    shown = picture("benchmark.png", "Measured speed against the goals")
    return f"Times and ratios, side by side in one run: [benchmark](benchmark.md).\n\n{shown}"


def _run_lists(results: Results) -> Iterator[str]:
    """A folded table of every run, by scale and experiment."""
    header = ["Run", "Status", "Last epoch", "Seconds", "Device", "Commit"]
    for scale, (runs, _) in results.runs.items():
        for experiment in dict.fromkeys(run.experiment for run in runs):
            of_experiment = [run for run in runs if run.experiment == experiment]
            named = escape(results.title(experiment, scale))
            name = f"{named}, {scale} scale: {len(of_experiment)} runs"
            rows = [_run_row(run) for run in of_experiment]
            yield f"<details>\n<summary>{name}</summary>\n\n{pipes(header, rows)}\n\n</details>"


def _run_row(run: Run) -> list[str]:
    info, last = run.info, ""
    if run.epochs:
        names = [name for name in run.metrics if name not in ("epoch", "lr")]
        values = {name: run.metrics[name][-1] for name in names}
        last = ", ".join(f"{name} {value:.5g}" for name, value in values.items() if value == value)
    folder = f"runs/{run.scale}/{run.experiment}/{run.arm}/seed{run.seed}"
    return [
        f"[{literal(run.arm)}, seed {run.seed}]({quote(folder, safe='/+=,')})",
        run.status,
        literal(last),
        f"{info.get('seconds', 0):.0f}",
        literal(f"{run.processor}, {info['threads']} thread"),
        literal((info.get("commit") or MISSING)[:10]),
    ]
