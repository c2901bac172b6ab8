"""The report of all runs: `python -m scripts.report`.

Rebuilds the tables, figures and verdicts of every committed scale, and writes <results>/REPORT.md
and a page of it that holds its pictures, <results>/report.html. All of it is made beside the old
files and takes their places at the end: an error leaves them as they were. The same runs give the
same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.record.atomic import WriteError
from experiments.record.reader import Runs
from scripts.figures.__main__ import write_figures_of
from scripts.item import Item, ResultError
from scripts.report.page import page
from scripts.report.results import Results, read_results
from scripts.report.text import report
from scripts.tables.__main__ import write_table_of
from scripts.verdicts.__main__ import write_verdicts
from scripts.verdicts.claims import ClaimError

_PICTURE = re.compile(r"!\[((?:\\.|[^]\\])*)\]\((figures/[^)]*)\)")  # its words and its path


def make(results: Results, out: Path) -> None:
    """Make the tables, figures and verdicts for which there are runs, and the report."""
    for scale, runs in results.runs.items():
        for item in results.items:
            shown = any(scale in results.scales_of(of, item.arms()) for of in item.experiments)
            if item.caption and shown:
                write_table_of(item, runs, out / "tables", scale)
            drawing = not item.experiments  # of no scale
            if shown or (drawing and scale == next(iter(results.runs))):
                _write_figures(item, runs, out / "figures", scale)
        write_verdicts(results.verdicts[scale], scale, results.claims, results.shares[scale], out)
    text = _PICTURE.sub(partial(_if_made, out), report(results))
    (out / "REPORT.md").write_text(text, encoding="utf-8")
    (out / "report.html").write_text(page(text, out, results.folder), encoding="utf-8")


def _write_figures(item: Item, runs: Runs, out: Path, scale: str) -> None:
    """Write an item's figures; runs of which none can be made do not end the report."""
    try:
        write_figures_of(item, runs, out, scale)
    except ResultError as error:
        print(f"no figure of {item.name} at scale {scale}: {error}", file=sys.stderr)


def _if_made(out: Path, picture: re.Match[str]) -> str:
    """A picture that was made now; of others, whose file may be an old one, the words."""
    return picture[0] if (out / picture[2]).exists() else f"*{picture[1]}: could not be drawn*"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    folder = parser.parse_args(arguments).results
    try:
        results = read_results(folder)
        with TemporaryDirectory(dir=folder, prefix=".report-") as aside:
            make(results, Path(aside))
            _replace(Path(aside), folder)
    except (ResultError, ClaimError, WriteError, OSError) as error:
        sys.exit(f"error: {error}")
    if results.demo:
        print(f"left out, as the demo's: {results.demo} runs")
    if count := len(results.left_out()):
        print(f"left out, with the reasons in REPORT.md: {count} run folders")
    for name in ("REPORT.md", "report.html"):
        print(f"wrote {folder / name}")


def _replace(made: Path, folder: Path) -> None:
    """Move all files of one folder to their places in another."""
    for path in sorted(made.rglob("*")):
        place = folder / path.relative_to(made)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            os.replace(path, place)


if __name__ == "__main__":
    main()
