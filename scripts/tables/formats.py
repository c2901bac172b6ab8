"""A table as csv, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.record.atomic import write

MISSING = "–"
# What Markdown would read as more than text: of _ and ] only where they begin or end something
_MARKDOWN = re.compile(
    r"[\\`*|<~&]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|:(?=//)|(?<=www)\.|^#|^[>+-](?!\d)"
)
IN_LINK = re.compile(_MARKDOWN.pattern + r"|[\[\]]")  # a link's text ends at a bracket
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
        "≥": r"$\geq$",
        "−": "$-$",
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


def markdown(table: Table) -> str:
    """GitHub's Markdown: caption, table, notes as a list."""
    header, *rows = [[plain(text) for text in row] for row in (table.header, *table.rows)]
    notes = [f"- {plain(note)}" for note in table.notes]
    return "\n".join([plain(table.caption), "", pipes(header, rows), "", *notes, ""])


def plain(text: str, special: re.Pattern[str] = _MARKDOWN) -> str:
    """Takes text, returns Markdown that shows it on one line and does nothing else."""
    return special.sub(r"\\\g<0>", " ".join(text.split()))


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


def span(numbers: Iterable[int]) -> str:
    """`3`, or `1–3` of numbers that differ."""
    ends = sorted(numbers)
    return "–".join(dict.fromkeys((str(ends[0]), str(ends[-1]))))


def capital(text: str) -> str:
    """With its first letter a capital, the others as they are."""
    return text[:1].upper() + text[1:]


def write_table(table: Table, frame: pd.DataFrame, folder: Path) -> None:
    """Write <folder>/<the table's name>.{csv,md,tex}; the csv holds the numbers of `frame`."""
    csv = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    for kind, text in {"csv": csv, "md": markdown(table), "tex": latex(table)}.items():
        write(folder / f"{table.name}.{kind}", text.encode())
