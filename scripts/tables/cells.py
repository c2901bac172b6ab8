"""Tables from run folders, as csv, Markdown and LaTeX: `python -m scripts.tables table1`.

Writes <out>/<scale>/table1.{csv,md,tex} and prints the Markdown. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.record.atomic import write
from experiments.record.reader import RecordError
from scripts.catalogue import ITEMS, OPTIMIZERS, Item
from scripts.gather import (
    Arm,
    Experiment,
    ResultError,
    conditions,
    place,
    published,
    read_experiment,
    require_runs,
)

MISSING = "–"
# Each takes one run's test accuracies, epoch by epoch. The last ten of ten epochs are all of them.
STATISTICS: dict[str, Callable[[pd.Series], float]] = {
    "last": lambda curve: curve.iloc[-1],
    "best": lambda curve: curve.max(),
    "last10": lambda curve: curve.iloc[-10:].mean() if len(curve) > 10 else np.nan,
}
LABELS = {"last": "last epoch", "best": "best epoch*", "last10": "mean of last 10"}
_MARKDOWN = str.maketrans({"*": r"\*", "|": r"\|"})
_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        MISSING: "--",
    }
)


@dataclass(frozen=True)
class Table:
    """A table as text, before it is Markdown or LaTeX.

    A row's first cell opens a group of rows; it is empty in the group's other rows.
    """

    name: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def values(arm: Arm, statistic: str) -> list[float]:
    """A statistic of each run that did not diverge; empty if the runs are too short for it."""
    if not arm.done:
        return []
    found = arm.curves("test_accuracy").apply(STATISTICS[statistic])
    return [] if found.isna().any() else found.tolist()


def mean_std(numbers: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN where there are too few numbers."""
    return (
        statistics.fmean(numbers) if numbers else np.nan,
        statistics.stdev(numbers) if len(numbers) > 1 else np.nan,
    )


def cell(arm: Arm, statistic: str) -> str:
    """`98.21 ± 0.10 (3)`, without ± for one run, or a dash for none.

    `diverged 1/3` follows the last epoch, which is the result, and not the other statistics.
    """
    numbers = values(arm, statistic)
    mean, std = mean_std(numbers)
    spread = f" ± {std:.2f}" if len(numbers) > 1 else ""
    text = f"{mean:.2f}{spread} ({len(numbers)})" if numbers else ""
    divergence = arm.divergence() if statistic == "last" else ""
    return ", ".join(part for part in (text, divergence) if part) or MISSING


def paper_values(item: Item, experiment: Experiment) -> pd.Series:
    """The published test accuracies of an item's arms; empty where the paper has none."""
    if item.published is None:
        return pd.Series(dtype=float)
    values = published(item.published).query("experiment == @experiment.name")
    return values.set_index("arm")["value"]


def frame_of(item: Item, experiments: list[Experiment], scale: str) -> pd.DataFrame:
    """A row per experiment, optimizer and method, with n = 0 for arms that were not run."""
    rows = []
    for experiment in experiments:
        paper = paper_values(item, experiment)
        for optimizer, (method, suffix) in product(item.optimizers, item.methods.items()):
            arm = experiment[optimizer + suffix]
            row = {
                "scale": scale,
                "experiment": experiment.name,
                "optimizer": optimizer,
                "method": method.lower(),
                "arm": optimizer + suffix,
                "n": len(arm.done),
                "diverged": len(arm.diverged),
                "seeds": " ".join(str(run.seed) for run in arm.done),
                "epochs": arm.done[0].config["epochs"] if arm.done else None,
            }
            for statistic in STATISTICS:
                mean, std = mean_std(values(arm, statistic))
                row |= {f"{statistic}_mean": mean, f"{statistic}_std": std}
            rows.append(row | {"published": paper.get(optimizer + suffix, np.nan)})
    return pd.DataFrame(rows).astype({"epochs": "Int64"})


def rows_of(item: Item, experiment: Experiment) -> Iterator[list[str]]:
    """A row a method, per statistic and for the published numbers where there are some.

    Of an experiment without runs, the last epoch's dashes say enough; so short that they have no
    last ten epochs, nothing is said of those.
    """
    paper = paper_values(item, experiment)
    wanted = ["last", *([] if paper.empty else ["published"])]
    wanted += ["best"] if experiment.runs else []
    wanted += ["last10"] if any(values(arm, "last10") for arm in experiment.arms.values()) else []
    title = experiment.title
    for statistic in wanted:
        label = LABELS.get(statistic, statistic)
        for method, suffix in item.methods.items():
            arms = [optimizer + suffix for optimizer in item.optimizers]
            if statistic == "published" and not paper.index.isin(arms).any():
                continue
            cells = []
            for arm in arms:
                if statistic == "published":
                    cells.append(f"{paper[arm]:.2f}" if arm in paper else MISSING)
                else:
                    cells.append(cell(experiment[arm], statistic))
            yield [title, label, method, *cells]
            title = label = ""


def caption_of(item: Item) -> str:
    result = "test accuracy in percent"
    caption = item.caption.format(result=result, Result=result.capitalize())
    return caption[0].upper() + caption[1:]


def layout(item: Item, experiments: list[Experiment], scale: str, file: str) -> Table:
    """A table with the conditions of its runs, and what is not in its means, as notes."""
    caption = (
        f"{caption_of(item)}, scale {scale}: mean ± sample standard deviation over seeds "
        "(number of seeds)."
    )
    notes = [f"{each.title}: {conditions(each)}." for each in experiments if each.runs]
    notes.append(
        "* The mean over seeds of each run's best epoch, which is chosen on the test set and "
        "therefore too high; the last epoch is the result."
    )
    if any(not paper_values(item, each).empty for each in experiments):
        number = item.published.removeprefix("table")
        notes.append(f"published: the paper's Table {number}, at the paper's scale.")
    notes.append(f"{MISSING}: not run, or diverged.")
    if diverged := [place(run) for e in experiments for run in e.runs if run.status == "diverged"]:
        notes.append(f"Diverged, not in the means: {', '.join(diverged)}.")
    if unfinished := [place(run) for each in experiments for run in each.unfinished]:
        notes.append(f"Not counted, because they did not finish: {', '.join(unfinished)}.")
    header = ["Data, net", "Epoch", "Method", *(OPTIMIZERS[each] for each in item.optimizers)]
    rows = [row for experiment in experiments for row in rows_of(item, experiment)]
    return Table(file, caption, header, rows, notes)


def markdown(table: Table) -> str:
    """GitHub's Markdown: caption, table, notes as a list."""
    rows = [[text.translate(_MARKDOWN) for text in row] for row in table.rows]
    notes = [f"- {note.translate(_MARKDOWN)}" for note in table.notes]
    caption = table.caption.translate(_MARKDOWN)
    return "\n".join([caption, "", pipes(table.header, rows), "", *notes, ""])


def pipes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    grid = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in grid)


def latex(table: Table) -> str:
    """A table over both columns of a page, in ASCII; needs \\usepackage{booktabs}."""

    def line(cells: list[str]) -> str:
        tight = (text.replace(" ± ", "±") for text in cells)
        return " & ".join(text.translate(_LATEX) for text in tight) + r" \\"

    width = len(table.header) - 1  # a group's name stands on a line of its own
    body = []
    for group, *cells in table.rows:
        if group:
            name = group.translate(_LATEX)
            body += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{name}}}}} \\"]
        body.append(line(cells))
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{table.caption.translate(_LATEX)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{ll{'r' * (width - 2)}}}",
            r"\toprule",
            line(table.header[1:]),
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\medskip\raggedright\scriptsize",
            *(f"{note.translate(_LATEX)}\\par" for note in table.notes),
            r"\end{table*}",
            "",
        ]
    )


def make_table(name: str, runs_dir: Path, out: Path, scale: str, experiment: str | None) -> str:
    """Write a table's three files and return its Markdown, of one experiment if one is named.

    The files hold all of the table's experiments whichever is named. An experiment that is not
    among them makes a table of its own, <name>-<experiment>.
    """
    item = ITEMS[name]
    if experiment is not None and experiment not in item.experiments:
        item = item.of_experiment(experiment)
    file = item.name
    experiments = [read_experiment(runs_dir, scale, each, item.arms()) for each in item.experiments]
    asked = [each for each in experiments if experiment in (None, each.name)]
    require_runs(asked, runs_dir, scale, item.sweep)
    table = layout(item, experiments, scale, file)
    frame = frame_of(item, experiments, scale)
    files = {
        "csv": frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"),
        "md": markdown(table),
        "tex": latex(table),
    }
    (out / scale).mkdir(parents=True, exist_ok=True)
    for kind, text in files.items():
        write(out / scale / f"{file}.{kind}", text.encode())
    return markdown(layout(item, asked, scale, file))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "table",
        choices=[
            name for name, each in ITEMS.items() if each.caption and each.layout == "optimizers"
        ],
    )
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--experiment", help="print this one only; digits has its own table")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    places = options.runs_dir, options.out
    try:
        print(make_table(options.table, *places, options.scale, options.experiment))
    except (ResultError, RecordError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
