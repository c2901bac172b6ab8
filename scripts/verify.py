"""Check every run folder: `python -m scripts.verify`.

Says for each scale how many runs are whole, by status; names each folder that is left out of
tables, figures and verdicts, with the reason; and says which runs the report does not show. The
exit status is 1 if a folder is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from experiments.record.reader import Runs, read_runs
from scripts.own import outside_report, own_arms, own_items


def report(scale: str, runs: Runs) -> int:
    """Print what is to be said of the runs of a scale; returns how many folders are left out."""
    counts = Counter(run.status for run in runs.runs)
    counts["left out"] = len(runs.left_out)
    words = [f"{count} {status}" for status, count in counts.items() if count]
    for run in runs.left_out:
        print(f"{run.folder}: {run.reason}")
    print(f"{scale}: {', '.join(words) or 'no runs'}")
    outside = outside_report(own_items(runs.runs))
    left = Counter(run.experiment for run in runs.runs if (run.experiment, run.arm) in outside)
    for experiment, count in left.items():
        print(f"{scale}: outside the report, as the demo's: {count} of {experiment}")
    for experiment, arms in own_arms(runs.runs).items():
        print(f"{scale}: in no item of the paper: {', '.join(arms)} of {experiment}")
    return len(runs.left_out)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    options = parser.parse_args(arguments)
    if not options.runs_dir.is_dir():
        sys.exit(f"error: {options.runs_dir} is no folder of runs: name one with --runs-dir")
    folders = [path for path in options.runs_dir.iterdir() if path.is_dir()]
    scales = sorted(path.name for path in folders if path.name[0] != ".")
    broken = sum(report(scale, read_runs(options.runs_dir, scale=scale)) for scale in scales)
    if broken:
        sys.exit(f"error: {broken} left out: repair or delete their folders, and run them again")


if __name__ == "__main__":
    main()
