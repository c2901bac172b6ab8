"""Which of the paper's claims hold, from run folders: `python -m scripts.verdicts --scale lite`.

Writes <out>/<scale>/verdicts.{csv,md}, a row for each claim of conf/claims.yaml, and pairs.csv, a
row for each comparison with the run folders that it is made of. The same runs give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.record.atomic import WriteError, write
from experiments.record.reader import read_runs
from scripts.verdicts.claims import ClaimError, read_claims
from scripts.verdicts.judge import judge
from scripts.verdicts.text import files


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="paper", help="paper (default), lite or smoke")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--out", type=Path, default=Path("results/tables"))
    options = parser.parse_args(arguments)
    try:
        claims = read_claims()
        verdicts = judge(claims, read_runs(options.runs_dir, scale=options.scale), options.scale)
        texts = files(verdicts, options.scale, claims)
        folder = options.out / options.scale
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write(folder / name, text.encode())
    except (ClaimError, WriteError) as error:
        sys.exit(f"error: {error}")
    print(texts["verdicts.md"])


if __name__ == "__main__":
    main()
