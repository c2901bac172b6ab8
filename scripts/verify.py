"""Check every run folder: `python -m scripts.verify`. Exit status 1 if one is not whole."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from experiments.record.reader import read_runs


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    options = parser.parse_args(arguments)
    if not options.runs_dir.is_dir():
        sys.exit(f"error: {options.runs_dir} is no folder of runs")
    broken = 0
    for scale in sorted(path.name for path in options.runs_dir.iterdir() if path.is_dir()):
        runs, left_out = read_runs(options.runs_dir, scale=scale)
        broken += len(left_out)
        for folder, reason in left_out:
            print(f"{folder}: {reason}")
        counts = Counter(run.status for run in runs)
        print(f"{scale}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    sys.exit(f"error: {broken} not whole" if broken else 0)


if __name__ == "__main__":
    main()
