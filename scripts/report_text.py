"""The text of the report, section by section: verdicts, tables and figures, what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.record import FINISHED, Run
from scripts import costs, gaps, toy_shares, verdicts, voc_figures
from scripts.arms import read_experiment
from scripts.claims import Claims
from scripts.items import CURVES, TABLES, TITLES
from scripts.judge import NOT_RUN, VERDICTS, Verdict, judge_cost
from scripts.tables import MISSING, layout, markdown

SCALES = ("paper", "lite")  # in the order of preference; smoke runs are no evidence
# A section for each of the paper's items: its table if it has one, and its figures
SECTIONS = {
    "Table 1 and Figures 5 to 7: learning rate dropout and five optimizers": (
        "table1", ("figure5", "figure6", "figure7"),
    ),
    "Table 2 and Figure 10: the probability of an update": ("table2", ("figure10",)),
    "Table 3 and Figure 11: other regularizations": ("table3", ("figure11",)),
    "Figure 12: dropout on the gradient": (None, ("figure12",)),
    "Table 4 and Figure 13: standard dropout": ("table4", ("figure13",)),
    "Not in the paper: is it the mask, or the smaller mean step?": ("controls", ("controls",)),
    "Not in the paper: RMSprop as its authors released it": ("authors", ("authors",)),
}  # fmt: skip
METHOD_FIGURES = {
    "figure1": "Figure 1: a saddle point, without and with learning rate dropout",
    "figure2": "Figure 2: what back-propagation, dropout and learning rate dropout update in a net",
    "figure3": "Figure 3: the eight descent paths of three parameters",
}


class Results(NamedTuple):
    """What the report is made of; `scale` is the one at which each experiment is shown."""

    folder: Path
    runs: dict[str, list[Run]]  # by scale
    scale: dict[str, str]  # by experiment; none for those that were never run
    claims: Claims
    verdicts: dict[str, list[Verdict]]  # by scale


def report(results: Results) -> str:
    """The report as Markdown, with paths relative to the results folder."""
    parts = [
        "# What holds of Learning Rate Dropout",
        _summary(results),
        "## Verdicts",
        _verdict_table(results),
        "## Results beside the published numbers",
        *(_section(results, title, *item) for title, item in SECTIONS.items()),
        *_voc_sections(results),
        _toy_section(results),
        "## What is missing",
        _missing(results),
        "## What the paper's scale would cost",
        _costs(),
        "## Speed",
        _speed(results.folder),
        "## Drawings of the method",
        *(_picture(f"figures/{name}.png", text) for name, text in METHOD_FIGURES.items()),
        "## Runs",
        *_run_lists(results),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    grid = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in grid)


def _picture(path: str, text: str) -> str:
    return f"![{text}]({path})"


def _shown(results: Results) -> list[Verdict]:
    """Each claim's verdict at the scale at which its experiment is shown."""
    first = next(iter(results.verdicts.values()))
    by_scale = {
        scale: {each.claim.text: each for each in judged}
        for scale, judged in results.verdicts.items()
    }
    return [
        by_scale.get(results.scale.get(each.claim.experiment, ""), {}).get(
            each.claim.text, Verdict(each.claim, [], NOT_RUN)
        )
        for each in first
    ]


def _summary(results: Results) -> str:
    runs = [run for each in results.runs.values() for run in each if run.status in FINISHED]
    counts = Counter(each.verdict for each in _shown(results))
    scales = [
        f"{sum(run.status in FINISHED for run in found)} at {scale} scale"
        for scale, found in results.runs.items()
        if found
    ]
    machines = sorted({run.info.get("cpu") or run.info["device"] for run in runs})
    return (
        "LRD is learning rate dropout with p = 0.5, unless it says otherwise; the base is the "
        "same optimizer without it, at the same seed: the same initial weights, order and "
        f"augmentation. Of {sum(counts.values())} claims of the paper and questions of our own: "
        + ", ".join(f"**{counts[word]} {word}**" for word in VERDICTS)
        + f". Made from {len(runs)} finished runs ({', '.join(scales)}) on "
        f"{' and '.join(machines)}; every number comes from a run folder, listed at the end with "
        "its commit, and `make report` makes this page anew from them. An experiment is shown at "
        "the paper's scale where it was run at that, else at lite scale: the same code with "
        "narrower nets, fewer images and fewer epochs, which can suggest what happens at full "
        "size and cannot prove it."
    )


def _verdict_table(results: Results) -> str:
    header = [*verdicts.HEADER]
    header.insert(header.index("n"), "Scale")
    commands = {(each.sweep, each.experiment): each.command(SCALES[0]) for each in gaps.wanted()}
    rows = []
    for verdict in _shown(results):
        cells = verdicts.row(verdict, results.claims.level)
        if verdict.verdict == NOT_RUN:
            scale = MISSING
            command = commands[verdict.claim.sweep, verdict.claim.experiment]
            cells[verdicts.HEADER.index("Mean difference")] = f"`{command}`"
        else:
            scale = results.scale[verdict.claim.experiment]
        cells.insert(header.index("Scale"), scale)
        rows.append(cells)
    for cost in results.claims.costs:
        result, verdict = judge_cost(cost, results.folder / "benchmark.csv", results.claims.level)
        cells = [cost.text, cost.source, verdict, "paper" if result.n else MISSING]
        cells += [
            f"{result.n} rounds",
            f"ratio {result.mean:.3f}" if result.n else "`make benchmark`",
        ]
        rows.append([*cells, MISSING, MISSING, MISSING])
    links = ", ".join(
        f"[{scale}](tables/{scale}/verdicts.md) ([every comparison](tables/{scale}/pairs.csv))"
        for scale in results.verdicts
    )
    notes = [*verdicts.notes(results.claims.level), f"By scale: {links}."]
    return "\n\n".join([_table(header, rows), "\n".join(f"- {note}" for note in notes)])


def _section(results: Results, title: str, table: str | None, figures: tuple[str, ...]) -> str:
    """An item's tables, one for each scale at which its experiments are shown, and its figures."""
    parts = [f"### {title}"]
    item = TABLES[table] if table else CURVES[figures[0]].item
    for scale in SCALES:
        names = [name for name in item.experiments if results.scale.get(name) == scale]
        read = [
            read_experiment(results.folder / "runs", scale, name, item.arms()) for name in names
        ]
        if table and read:
            parts.append(markdown(layout(table, item, read, scale, table)))
    parts += [_figure(results, figure, CURVES[figure].experiment) for figure in figures]
    absent = [TITLES[name] for name in item.experiments if name not in results.scale]
    if absent:
        parts.append(f"Not run: {', '.join(absent)}.")
    return "\n\n".join(part for part in parts if part)


def _figure(results: Results, name: str, experiment: str, text: str = "") -> str:
    """A figure of an experiment at the scale at which it is shown; nothing if it was not run."""
    scale = results.scale.get(experiment)
    path = f"figures/{scale}/{name}.png"
    if scale is None or not (results.folder / path).exists():
        return ""
    number = name.removeprefix("figure")
    what = f"Figure {number}" if number.isdecimal() else name.capitalize()
    return _picture(path, f"{what}, {text or TITLES[experiment]}, scale {scale}")


def _voc_sections(results: Results) -> Iterator[str]:
    for name, item in voc_figures.ITEMS.items():
        number, title = name.removeprefix("figure"), TITLES[item.experiment]
        yield f"### Figure {number}: {title}"
        scale = results.scale.get(item.experiment)
        if scale is None:
            yield "Not run."
            continue
        arms = voc_figures.ARMS.values()
        experiment = read_experiment(results.folder / "runs", scale, item.experiment, arms)
        yield markdown(voc_figures.summary(item, experiment, scale, name))
        yield _figure(results, name, item.experiment)


def _toy_section(results: Results) -> str:
    parts = ["### Figure 4: the toy example"]
    scale = results.scale.get("toy")
    if scale is None:
        return "\n\n".join([*parts, "Not run."])
    read = toy_shares.read_rates(results.folder / "runs", scale)
    parts.append(markdown(toy_shares.summary(read, scale)))
    parts.append(_figure(results, "figure4", "toy", "paths over the contour"))
    parts.append(_figure(results, "figure4-basins", "toy", "share of starts by basin"))
    return "\n\n".join(parts)


def _missing(results: Results) -> str:
    """What the tables and figures lack, the command for it, and what that would cost."""
    rows = []
    for wanted in gaps.wanted():
        scale = results.scale.get(wanted.experiment, SCALES[0])
        for each in dict.fromkeys((scale, SCALES[0])):
            lacking = wanted.missing(results.runs[each])
            if not lacking:
                continue
            took = gaps.seconds_of_a_run(results.runs[each], wanted.experiment)
            cost = _cost_of(wanted.experiment, each, len(lacking), took)
            name = f"{wanted.sweep}, {wanted.experiment}"
            total = len(wanted.arms) * len(gaps.SEEDS)
            command = f"`{wanted.command(each)}`"
            rows.append([name, each, f"{len(lacking)} of {total}", _arms(lacking), cost, command])
    if not rows:
        return "Nothing."
    header = ["Item", "Scale", "Runs missing", "Arms", "Cost", "Command"]
    note = (
        "Cost in core-hours is from the mean training time of the experiment's finished runs at "
        "that scale; in GPU-hours from the model below. Items share runs, which are made once."
    )
    return f"{_table(header, rows)}\n\n{note}"


def _arms(lacking: list[tuple[str, int]]) -> str:
    """`adam+sd0.9 (seeds 1, 2), sgdm (0, 1, 2)`, cut after four arms."""
    by_arm: dict[str, list[str]] = {}
    for arm, seed in lacking:
        by_arm.setdefault(arm, []).append(str(seed))
    words = [f"{arm} (seed {', '.join(seeds)})" for arm, seeds in by_arm.items()]
    more = f" and {len(words) - 4} more" if len(words) > 4 else ""
    return ", ".join(words[:4]) + more


def _cost_of(experiment: str, scale: str, count: int, took: float | None) -> str:
    if took is not None:
        return f"{count * took / 3600:.1f} core-hours"
    if scale == SCALES[0] and experiment in costs.IMAGES:
        return f"{count * costs.estimate(experiment).hours:.0f} GPU-hours"
    return "unknown"


def _costs() -> str:
    """The cost model, by item."""
    rows, seen, total = [], set(), 0.0
    for wanted in gaps.wanted():
        if wanted.experiment not in costs.IMAGES:
            continue
        each = costs.estimate(wanted.experiment)
        new = [arm for arm in wanted.arms if (wanted.experiment, arm) not in seen]
        seen |= {(wanted.experiment, arm) for arm in new}
        hours = len(new) * len(gaps.SEEDS) * each.hours
        total += hours
        name = f"{wanted.sweep}, {TITLES[wanted.experiment]}"
        numbers = [f"{each.forward / 1e9:.3g}", f"{each.hours:.2g}"]
        rows.append([name, *numbers, str(len(new) * len(gaps.SEEDS)), f"{hours:,.0f}"])
    rows.append(["all", "", "", str(len(seen) * len(gaps.SEEDS)), f"{total:,.0f}"])
    header = ["Item", "GFLOP an image, forward", "GPU-hours a run", "Runs", "GPU-hours"]
    return (
        f"{_table(header, rows)}\n\nAn estimate, not a measurement: {costs.ASSUMED} The seeds are "
        f"{', '.join(map(str, gaps.SEEDS))}; runs that an item above has already are not counted "
        "again. `make plan-table1` measures a few steps on the machine at hand instead."
    )


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
            title = f"{TITLES.get(experiment, experiment)}, {scale} scale: {len(found)} runs"
            rows = [_run_row(run) for run in found]
            yield f"<details>\n<summary>{title}</summary>\n\n{_table(header, rows)}\n\n</details>"


def _run_row(run: Run) -> list[str]:
    last = "" if run.metrics.empty else _numbers(run)
    folder = f"{run.scale}/{run.experiment}/{run.arm}/seed{run.seed}"
    device = f"{run.info['device']}, {run.info['threads']} thread" if "device" in run.info else ""
    return [
        f"[{run.arm}, seed {run.seed}](runs/{folder})",
        run.status,
        last,
        f"{run.info.get('seconds', 0):.0f}",
        device,
        str(run.info.get("commit", ""))[:10],
    ]


def _numbers(run: Run) -> str:
    hidden = ("epoch", "lr")
    last = run.metrics.drop(columns=[*hidden], errors="ignore").iloc[-1]
    return ", ".join(f"{name} {value:.5g}" for name, value in last.items())
