"""Tables from run folders, as csv, Markdown and LaTeX: `python -m scripts.tables table1`.

Writes <out>/<scale>/table1.{csv,md,tex} and prints the Markdown. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.record import RecordError
from scripts.arms import (
    OPTIMIZERS,
    Arm,
    Experiment,
    ResultError,
    conditions,
    place,
    published,
    read_experiment,
    require_runs,
    write_whole,
)

TABLE1_ROWS = ("mnist", "cifar10", "cifar100")
METRIC = "test_accuracy"
METHODS = {"base": "", "LRD": "+lrd0.5"}  # with the suffix of the arm's name
MISSING = "–"
# Each takes one run's test accuracies, epoch by epoch.
STATISTICS: dict[str, Callable[[pd.Series], float]] = {
    "last": lambda curve: curve.iloc[-1],
    "best": lambda curve: curve.max(),
    "last10": lambda curve: curve.iloc[-10:].mean() if len(curve) >= 10 else np.nan,
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
    found = arm.curves(METRIC).apply(STATISTICS[statistic])
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


def table1_frame(experiments: list[Experiment], scale: str) -> pd.DataFrame:
    """A row per experiment, optimizer and method, with n = 0 for arms that were not run."""
    paper = published("table1").set_index(["experiment", "arm"])["value"]
    rows = []
    for experiment in experiments:
        for optimizer in OPTIMIZERS:
            for method, suffix in METHODS.items():
                name = optimizer + suffix
                arm = experiment[name]
                row = {
                    "scale": scale,
                    "experiment": experiment.name,
                    "optimizer": optimizer,
                    "method": method.lower(),
                    "arm": name,
                    "n": len(arm.done),
                    "diverged": len(arm.diverged),
                    "seeds": " ".join(str(run.seed) for run in arm.done),
                    "epochs": arm.done[0].config["epochs"] if arm.done else None,
                }
                for statistic in STATISTICS:
                    mean, std = mean_std(values(arm, statistic))
                    row |= {f"{statistic}_mean": mean, f"{statistic}_std": std}
                rows.append(row | {"published": paper.get((experiment.name, name), np.nan)})
    return pd.DataFrame(rows).astype({"epochs": "Int64"})


def table1_rows(experiment: Experiment) -> Iterator[list[str]]:
    """Two rows, base and LRD, per statistic and for the published numbers where there are some.

    Of an experiment without runs, the last epoch's dashes say enough.
    """
    paper = published("table1").query("experiment == @experiment.name").set_index("arm")["value"]
    wanted = ["last", *([] if paper.empty else ["published"])]
    wanted += ["best", "last10"] if experiment.runs else []
    title = experiment.title
    for statistic in wanted:
        label = LABELS.get(statistic, statistic)
        for method, suffix in METHODS.items():
            names = [optimizer + suffix for optimizer in OPTIMIZERS]
            if statistic == "published":
                cells = [f"{paper[name]:.2f}" for name in names]
            else:
                cells = [cell(experiment[name], statistic) for name in names]
            yield [title, label, method, *cells]
            title = label = ""


def table1(experiments: list[Experiment], scale: str, name: str) -> Table:
    """Table 1: test accuracy of every optimizer without and with learning rate dropout."""
    caption = (
        "Test accuracy in percent without (base) and with learning rate dropout (LRD, p = 0.5), "
        f"scale {scale}: mean ± sample standard deviation over seeds (number of seeds)."
    )
    notes = [f"{each.title}: {conditions(each)}." for each in experiments if each.runs]
    notes.append(
        "* The mean over seeds of each run's best epoch, which is chosen on the test set and "
        "therefore too high; the last epoch is the result."
    )
    if any(each.name in TABLE1_ROWS for each in experiments):
        notes.append("published: the paper's Table 1, at the paper's scale.")
    notes.append(f"{MISSING}: not run, diverged, or fewer than ten epochs to take the mean of.")
    if diverged := [place(run) for e in experiments for run in e.runs if run.status == "diverged"]:
        notes.append(f"Diverged, not in the means: {', '.join(diverged)}.")
    if unfinished := [place(run) for each in experiments for run in each.unfinished]:
        notes.append(f"Not counted, because they did not finish: {', '.join(unfinished)}.")
    header = ["Data, net", "Epoch", "Method", *OPTIMIZERS.values()]
    rows = [row for experiment in experiments for row in table1_rows(experiment)]
    return Table(name, caption, header, rows, notes)


def markdown(table: Table) -> str:
    """GitHub's Markdown: caption, table, notes as a list."""
    grid = [table.header, ["---"] * len(table.header), *table.rows]
    lines = [f"| {' | '.join(text.translate(_MARKDOWN) for text in row)} |" for row in grid]
    notes = [f"- {note.translate(_MARKDOWN)}" for note in table.notes]
    return "\n".join([table.caption.translate(_MARKDOWN), "", *lines, "", *notes, ""])


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


def make_table1(runs_dir: Path, out: Path, scale: str, experiment: str | None) -> str:
    """Write Table 1's three files and return its Markdown, of one experiment if one is named.

    The files hold all of the paper's rows whichever is named. An experiment that the paper does
    not have makes a table of its own, table1-<experiment>.
    """
    own = experiment is not None and experiment not in TABLE1_ROWS
    name = f"table1-{experiment}" if own else "table1"
    arms = [optimizer + suffix for optimizer in OPTIMIZERS for suffix in METHODS.values()]
    experiments = [
        read_experiment(runs_dir, scale, row, arms)
        for row in ([experiment] if own else TABLE1_ROWS)
    ]
    asked = [each for each in experiments if experiment in (None, each.name)]
    require_runs(asked, runs_dir, scale)
    table = table1(experiments, scale, name)
    frame = table1_frame(experiments, scale)
    files = {
        "csv": frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"),
        "md": markdown(table),
        "tex": latex(table),
    }
    for kind, text in files.items():
        write_whole(out / scale / f"{name}.{kind}", text.encode())
    return markdown(table1(asked, scale, name))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["table1"])
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--experiment", help="print this one only; digits has its own table")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    try:
        print(make_table1(options.runs_dir, options.out, options.scale, options.experiment))
    except (ResultError, RecordError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
