"""The report of all runs: `python -m scripts.report`.

Rebuilds the tables, figures and verdicts of every committed scale, and writes <results>/REPORT.md
and a page of it that holds its pictures, <results>/report.html. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from experiments.record.atomic import write
from experiments.record.faults import FINISHED
from experiments.record.reader import RecordError, read_runs
from scripts.catalogue import ITEMS
from scripts.figures.__main__ import make_figures
from scripts.gather import ResultError
from scripts.report import costs
from scripts.report.gaps import wanted
from scripts.report.page import page
from scripts.report.text import report
from scripts.report.verdicts import SCALES, Results
from scripts.tables.__main__ import make_table
from scripts.verdicts import text as verdicts
from scripts.verdicts.claims import ClaimError, read_claims
from scripts.verdicts.judge import judge


def read_results(folder: Path) -> Results:
    """Read runs and claims, and judge them.

    Raises ResultError, RecordError or ClaimError for what cannot be read or compared.
    """
    runs_dir = folder / "runs"
    asked = {each.experiment for each in wanted()}  # the demo's digits are none of the paper's
    runs = {
        scale: [run for run in read_runs(runs_dir, scale=scale).runs if run.experiment in asked]
        for scale in SCALES
    }
    if not any(run.status in FINISHED for found in runs.values() for run in found):
        raise ResultError(f"no finished run in {runs_dir}. Make some with: make reproduce-table1")
    claims = read_claims()
    judged = {name: judge(claims, runs[name]) for name in SCALES if runs[name]}
    return Results(folder, runs, claims, judged)


def rebuild(results: Results) -> None:
    """Make every table and figure anew for which there are runs, on all cores.

    Raises ResultError or RecordError for runs of which none can be made.
    """
    folders = results.folder / "figures", results.folder / "tables"
    runs_dir, jobs = results.folder / "runs", []
    for scale, judged in results.verdicts.items():
        there = {run.experiment for run in results.runs[scale] if run.status in FINISHED}
        shown = [
            item for item in ITEMS.values() if item.in_report and there & set(item.experiments)
        ]
        jobs += [(make_figures, item.name, runs_dir, folders[0], scale, None) for item in shown]
        jobs += [
            (make_table, item.name, runs_dir, folders[1], scale, None)
            for item in shown
            if item.caption
        ]
        verdicts.write_verdicts(judged, folders[1], scale, results.claims.level)
    with ProcessPoolExecutor(os.cpu_count(), _server()) as pool:
        drawn = [pool.submit(_draw, *job) for job in jobs]
        for experiment in costs.IMAGES:
            costs.estimate(experiment)  # which the text asks for, while the workers start
        for each in drawn:
            each.result()


def _server() -> BaseContext:
    """What the workers are forked from, begun if it does not run yet. Not this process, whose
    forks may hang in the threads of libraries that it has used."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["scripts.figures.toy", "scripts.figures.voc"])
    forkserver.ensure_running()
    return context


def _draw(make: Callable[..., Any], *arguments: Any) -> None:
    """Make a figure or table. Of pictures that are left as they are, because no run has saved
    any, the report need not speak."""
    with contextlib.redirect_stderr(io.StringIO()):
        make(*arguments)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    try:
        _server()  # which loads its libraries while the runs are read
        results = read_results(options.results)
        rebuild(results)
        text = report(results)
    except (ResultError, RecordError, ClaimError) as error:
        sys.exit(f"error: {error}")
    html = page(text, options.results)
    for name, content in (("REPORT.md", text), ("report.html", html)):
        write(options.results / name, content.encode())
        print(f"wrote {options.results / name}")


if __name__ == "__main__":
    main()
