"""Which of the paper's claims hold, from run folders: `python -m scripts.verdicts --scale lite`.

Writes <results>/tables/<scale>/verdicts.{csv,md}, a row for each claim of conf/claims.yaml;
pairs.csv, a row for each comparison with the run folders that it is made of; share.{csv,md,tex},
how much of LRD's change a smaller step makes; <results>/figures/<scale>/forest/<family>.{png,pdf},
share.{png,pdf}, and best.{png,pdf} of the claims that compare arms at their best. The same runs
give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.record.atomic import WriteError, write
from experiments.record.reader import read_runs
from scripts.item import ResultError
from scripts.tables.formats import write_table
from scripts.titles import anchor
from scripts.verdicts import share
from scripts.verdicts.claim import Claims
from scripts.verdicts.claims import ClaimError, read_claims
from scripts.verdicts.judge import Verdict, judge, judged
from scripts.verdicts.text import files


def write_verdicts(
    verdicts: list[Verdict], scale: str, claims: Claims, shares: list[dict[str, Any]], out: Path
) -> str:
    """Write the files of a scale's verdicts below `out`; returns the claims' table as Markdown."""
    from scripts.figures.style import save  # loads matplotlib

    folder, pictures = out / "tables" / scale, out / "figures" / scale
    texts = files(verdicts, scale, claims)
    for name, text in texts.items():
        write(folder / name, text.encode())
    if shares:
        from scripts.figures.share import share_figure

        write_table(*share.table(shares, scale), folder)
        if (figure := share_figure(shares, scale)) is not None:
            save(figure, pictures / "share")
    if shown := judged(verdicts, scale):
        from scripts.verdicts import forest

        for name in {anchor(verdict.claim.family) for verdict in shown}:
            members = [verdict for verdict in shown if anchor(verdict.claim.family) == name]
            save(forest.draw(members), pictures / "forest" / name)
        if best := [verdict for verdict in shown if verdict.claim.best_against_best]:
            save(forest.draw(best), pictures / "best")
    return texts["verdicts.md"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="paper", help="paper (default), mid, lite or smoke")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    try:
        claims, runs = read_claims(), read_runs(options.runs_dir, scale=options.scale)
        if not any(run.finished for run in runs.runs):
            where = f"{options.runs_dir} at scale {options.scale}"
            raise ResultError(f"no finished run in {where}: nothing was judged or written")
        verdicts = judge(claims, runs, options.scale)
        shares = share.rows_of(runs, options.scale)
        print(write_verdicts(verdicts, options.scale, claims, shares, options.out))
    except (ClaimError, ResultError, WriteError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
