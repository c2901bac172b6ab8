"""What the report is made of: the runs of each scale, the claims, and what follows for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from experiments.record.reader import LeftOut, Run, Runs, read_runs
from scripts.catalogue import ITEMS
from scripts.item import Item, ResultError
from scripts.own import outside_report, own_items
from scripts.titles import title
from scripts.verdicts.claim import Claims
from scripts.verdicts.claims import read_claims
from scripts.verdicts.judge import Verdict, judge
from scripts.verdicts.share import rows_of

SCALES = ("paper", "mid", "lite")  # in the order of preference; smoke runs are no evidence


class Results(NamedTuple):
    """All that is read, once, before the first word is written."""

    folder: Path
    runs: dict[str, Runs]  # by scale
    items: list[Item]  # the catalogue's, and those of the user's own runs
    claims: Claims
    verdicts: dict[str, list[Verdict]]  # by scale
    shares: dict[str, list[dict[str, Any]]]  # by scale: rows of scripts.verdicts.share
    demo: int  # runs that the report leaves out

    def finished(self, scale: str) -> list[Run]:
        """The runs of a scale that have ended."""
        return [run for run in self.runs[scale].runs if run.finished]

    def title(self, experiment: str, scale: str) -> str:
        """Data and net of an experiment, as they are at a scale."""
        runs = self.runs[scale].runs
        return title(experiment, [run.config for run in runs if run.experiment == experiment])

    def left_out(self) -> list[LeftOut]:
        """The folders that nothing is made from."""
        return sorted(run for runs in self.runs.values() for run in runs.left_out)

    def scales_of(self, experiment: str, arms: Iterable[str]) -> list[str]:
        """The scales at which some arms of an experiment are shown: the first at which they have
        been run, and the next as well while one of them is missing there. A scale that has none but
        Table 1's is left out where another has more."""
        wanted, own, scales = set(arms), set(arms) - {*ITEMS["table1"].arms()}, {}
        for scale in self.runs:
            runs = self.finished(scale)
            arms_run = {run.arm for run in runs if run.experiment == experiment} & wanted
            scales |= {scale: arms_run & own} if arms_run else {}
            if arms_run == wanted:
                break
        return [scale for scale, more in scales.items() if more or not any(scales.values())]


def read_results(folder: Path) -> Results:
    """Takes the results folder, returns its runs and the claims, judged.

    Raises ResultError without a finished run, ClaimError for a claim that cannot be tested.
    """
    claims = read_claims()
    runs = {scale: read_runs(folder / "runs", scale=scale) for scale in SCALES}
    items = [item for item in ITEMS.values() if item.in_report]
    own = own_items([run for of_scale in runs.values() for run in of_scale.runs])
    items += own
    outside = outside_report(own)
    left = 0
    for scale, (of_scale, unread) in runs.items():
        kept = [run for run in of_scale if (run.experiment, run.arm) not in outside]
        runs[scale] = Runs(kept, unread)
        left += len(of_scale) - len(kept)
    runs = {scale: of_scale for scale, of_scale in runs.items() if any(of_scale)}
    if not any(run.finished for of_scale in runs.values() for run in of_scale.runs):
        raise ResultError(
            f"no finished run in {folder / 'runs'}. Make some with: make reproduce-table1"
        )
    judged = {scale: judge(claims, of_scale, scale) for scale, of_scale in runs.items()}
    shares = {scale: rows_of(of_scale, scale) for scale, of_scale in runs.items()}
    return Results(folder, runs, items, claims, judged, shares, left)
