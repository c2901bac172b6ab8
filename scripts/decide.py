"""Add seeds until claims are decided: `python -m scripts.decide --claims mnist --hours 3`.

Seed by seed, all arms of the claims that are not decided are run on this machine, and the claims
are judged again. It stops when all are decided, when the hours would not hold another seed, or at
the greatest number of seeds; repeated, it goes on. `--plan` runs nothing and says what it expects.
At scales that show directions only, it stops by the same rule, and the report shows no verdict.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from experiments import processes
from experiments.choice import FRESH, NoChoice, with_chosen_rate
from experiments.configuration import choices
from experiments.identity import arm_name
from experiments.record.machine import environment
from experiments.record.reader import Run, read_runs
from scripts.item import BEYOND
from scripts.plan import PlanError, jobs, plain, runs_of
from scripts.report.missing import own_words
from scripts.reproduce import launcher_words, run_module
from scripts.tables.formats import MISSING
from scripts.titles import task_of
from scripts.verdicts.claim import Claim, Claims, Pair, Trend, of_octaves
from scripts.verdicts.claims import ClaimError, read_claims
from scripts.verdicts.intervals import expected_seeds
from scripts.verdicts.judge import DECIDED, DIRECTIONS, NOT_COMPARABLE, UNDECIDED, Verdict, judge
from scripts.verdicts.text import evidence, seeds_of, word

_SPREAD_OF = ("test_accuracy", "global_share")  # the columns of conf/claims.yaml's spreads
_BEYOND = tuple(f"lr={rate:g}" for rate in BEYOND)


class Batch(NamedTuple):
    """The runs of one seed: a sweep, or none, and the arms of it that are wanted."""

    sweep: str | None
    experiment: str
    ranges: bool  # of learning rates, which end before the seeds that are compared
    arms: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]  # the runner's words by optimizer, but scale and seed

    @property
    def first_seed(self) -> int:
        return FRESH if any("best" in arm.split("+") for arm in self.arms) else 0

    def end(self, most: int) -> int:
        """The seed before which it ends, of `most` at the most."""
        end = self.first_seed + most
        return min(end, FRESH) if self.ranges else end


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    begin = time.monotonic()
    try:
        claims = read_claims()
        chosen = choose(claims, options.claim, options.claims)
        while True:
            runs = read_runs(options.runs_dir, scale=options.scale)
            # a family is corrected together, so that all claims are judged
            judged = judge(claims, runs, options.scale)
            verdicts = [verdict for verdict in judged if verdict.claim in chosen]
            print(*map(line, verdicts), sep="\n", flush=True)
            left = [verdict for verdict in verdicts if not decided(verdict)]
            made = runs.runs
            if options.plan:
                _print_plan(claims, verdicts, made, options)
                return
            if not left:
                print("all decided")
                return
            able = [batch for batch in batches_of(left) if not waits_for(batch, options)]
            batches = {batch: next_seed(batch, made) for batch in able}
            batches = {of: seed for of, seed in batches.items() if seed < of.end(options.most)}
            texts = "; ".join(verdict.claim.text for verdict in left)
            if not able:
                print(f"nothing can be run, not decided: {texts}")
                return
            took = _hours(batches, made, options) / options.jobs_at_once
            spent = (time.monotonic() - begin) / 3600
            if spent + took > options.hours or not batches:
                most = max(batch.end(options.most) - batch.first_seed for batch in able)
                limit = "the hours" if batches else f"{most} seeds"
                print(f"stopped at {limit}, not decided: {texts}")
                _print_plan(claims, verdicts, made, options)
                return
            for batch, seed in batches.items():
                _run(batch, seed, options)
    except (ClaimError, PlanError) as error:
        sys.exit(f"error: {error}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--claim", help="the text of one claim of conf/claims.yaml")
    which.add_argument("--claims", help="all of an experiment or a family: mnist, toy, …")
    parser.add_argument("--hours", type=float, default=1.0, help="of this command (default 1)")
    parser.add_argument("--scale", default="paper", choices=choices("scale"))
    parser.add_argument("--most", type=int, default=60, help="seeds at the most (default 60)")
    parser.add_argument("--launcher", default="basic", help="of Hydra: joblib, ray, …")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, but with basic")
    parser.add_argument("--runs-dir", type=Path, default=Path("results/runs"))
    parser.add_argument("--plan", action="store_true", help="run nothing, say what it would take")
    options = parser.parse_args(arguments)
    if not 0 < options.hours < float("inf"):
        parser.error(f"--hours must be a positive number, got {options.hours:g}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    options.jobs_at_once = 1 if options.launcher == "basic" else options.jobs
    return options


def choose(claims: Claims, text: str | None, group: str | None) -> list[Claim]:
    """The claim of a text, or those of an experiment or family. Raises ClaimError for none."""
    chosen = [
        claim
        for claim in claims.claims
        if claim.text == text or group in (claim.experiment, claim.family)
    ]
    if not chosen:
        known = {claim.experiment for claim in claims.claims} | {c.family for c in claims.claims}
        what = f"no claim reads {text!r}" if text else f"no experiment or family is {group!r}"
        raise ClaimError(f"{what}: conf/claims.yaml has them, of {', '.join(sorted(known))}")
    return chosen


def decided(verdict: Verdict) -> bool:
    """Whether more seeds would change nothing, though a gate may keep it from being a verdict."""
    tests = verdict.tested
    if verdict.verdict == NOT_COMPARABLE and not verdict.alone:  # a side collapsed or diverged
        return any(test.measured.seeds or test.measured.diverged for test in tests)
    if all(isinstance(of.pair, Trend) and len(of.measured.seeds) >= of.pair.seeds for of in tests):
        return True  # trends are tested once
    return verdict.verdict in DECIDED or (verdict.verdict != UNDECIDED and verdict.alone in DECIDED)


def line(verdict: Verdict) -> str:
    """`LRD improves …: undecided, n = 5, -0.04 [-0.26, +0.17] points`."""
    alone = f" (by its interval {verdict.alone})" if verdict.verdict in DIRECTIONS else ""
    numbers = f"n = {seeds_of(verdict)}, {evidence(verdict)}"
    return f"{verdict.claim.text}: {word(verdict)}{alone}, {numbers}"


def batches_of(verdicts: list[Verdict]) -> list[Batch]:
    """What to run for claims: one batch for each sweep and experiment, with no more values than
    the wanted arms of each optimizer have."""
    wanted: dict[tuple[str | None, str, bool, tuple[str, ...]], list[str]] = {}
    for verdict in verdicts:
        claim = verdict.claim
        own = () if claim.sweep else tuple(own_words(claim))
        ranges = any(of_octaves(pair) for pair in claim.comparisons)
        wanted.setdefault((claim.sweep, claim.experiment, ranges, own), []).extend(_arms(verdict))
    batches = []
    for (sweep, experiment, ranges, own), arms in wanted.items():
        needed: dict[str, dict[str, dict[str, None]]] = {}  # by optimizer and key: values
        made = set()
        for words, config in jobs(sweep, [*own] or [f"experiment={experiment}"]).items():
            if (arm := arm_name(config)) in arms:
                made.add(arm)
                of_optimizer = needed.setdefault(arm.partition("+")[0], {})
                for word_ in words:
                    key, _, value = word_.partition("=")
                    of_optimizer.setdefault(key, {})[value] = None
        if missing := set(arms) - made:
            raise ClaimError(
                f"no sweep is known that runs {', '.join(sorted(missing))} of {experiment}: give "
                "the claim a sweep"
            )
        commands = tuple(
            tuple(f"{key}={','.join(values)}" for key, values in keys.items())
            for keys in needed.values()
        )
        batches.append(Batch(sweep, experiment, ranges, tuple(dict.fromkeys(arms)), commands))
    return batches


def _arms(verdict: Verdict) -> list[str]:
    """A claim's arms; those of rates beyond the grid where a range did not end within it."""
    ranges = any(of_octaves(pair) for pair in verdict.claim.comparisons)
    if not ranges or any(test.measured.silent for test in verdict.tested):
        return verdict.claim.arms
    return [arm for arm in verdict.claim.arms if not arm.endswith(_BEYOND)]


def next_seed(batch: Batch, runs: list[Run]) -> int:
    """The first seed of which an arm lacks its result, and no run is of another processor."""
    task = task_of(batch.experiment)
    here = environment(processes.device(processes.device_name({"device": "auto", "task": task})))
    machine = here["cpu"] if here["device"] == "cpu" else here["device"]
    seed = batch.first_seed
    while True:
        of_seed = [run for run in runs if (run.experiment, run.seed) == (batch.experiment, seed)]
        made = [run for run in of_seed if run.finished and run.arm in batch.arms]
        if len(made) < len(batch.arms) and {run.processor for run in made} <= {machine}:
            return seed
        seed += 1


def waits_for(batch: Batch, options: argparse.Namespace) -> bool:
    """Whether the runs that choose a batch's learning rates are missing, which is printed."""
    words = [f"seed={FRESH}", f"scale={options.scale}", f"runs_dir={options.runs_dir}"]
    try:
        for command in batch.commands:
            for config in jobs(batch.sweep, [*command, *words]).values():
                if config["best_rate"]:
                    with_chosen_rate(config)
    except NoChoice as error:
        print(f"left out: {', '.join(batch.arms)} of {batch.experiment}: {error}", flush=True)
        return True
    return False


def _hours(batches: dict[Batch, int], runs: list[Run], options: argparse.Namespace) -> float:
    """What the runs of batches at their seeds take, each once, but for those that are finished: by
    the finished ones of their experiment, or else a plan."""
    ended = {(run.experiment, run.arm, run.seed) for run in runs if run.finished}
    hours = 0.0
    for batch, seed in batches.items():
        lacking = {arm for arm in batch.arms if (batch.experiment, arm, seed) not in ended}
        ended |= {(batch.experiment, arm, seed) for arm in lacking}
        done = [run for run in runs if run.experiment == batch.experiment and run.status == "done"]
        if done:
            hours += len(lacking) * fmean(run.info["seconds"] for run in done) / 3600
            continue
        for command in batch.commands:
            words = [*command, f"runs_dir={options.runs_dir}"]
            at = str(max(seed, batch.first_seed))
            planned = runs_of(batch.sweep, options.scale, at, words, not options.plan)
            hours += sum(run.known() for run in planned if run.name.split("/")[1] in lacking)
    return hours


def _run(batch: Batch, seed: int, options: argparse.Namespace) -> None:
    """Run a seed's arms. Ends the command with their exit status if one has no result."""
    sweep = [f"+sweep={batch.sweep}"] if batch.sweep else ["-m"]
    words = [f"seed={seed}", f"scale={options.scale}", f"runs_dir={options.runs_dir}"]
    words += launcher_words(options.launcher, options.jobs)
    for command in batch.commands:
        if status := run_module("experiments.run", *sweep, *command, *words):
            sys.exit(status)
    made = read_runs(options.runs_dir, scale=options.scale, experiment=batch.experiment).runs
    done = {run.arm for run in made if run.seed == seed and run.finished}
    if missing := set(batch.arms) - done:
        sys.exit(f"error: not made: {', '.join(sorted(missing))} at seed {seed}")


def _print_plan(
    claims: Claims, verdicts: list[Verdict], made: list[Run], options: argparse.Namespace
) -> None:
    """The seeds and hours that the undecided ones are expected to take from here on."""
    for verdict in verdicts:
        if decided(verdict):
            continue
        (batch,) = batches_of([verdict])
        what = f"{MISSING}, no planning_spread or neither a published gain nor a margin"
        seeds = expected(verdict.claim, claims)
        if seeds == math.inf:
            what = "more than 1000 seeds in all"
        elif seeds:
            more = max(1, seeds - min(len(test.measured.seeds) for test in verdict.tested))
            try:
                hours = more * _hours({batch: -1}, made, options)  # a seed that nobody has run
                takes = f"{plain(hours)} hours one after another"
            except PlanError as error:
                takes = str(error)
            what = f"about {seeds:g} seeds in all, {more:g} more, {takes}"
        print(f"expected for {verdict.claim.text}: {what}")


def expected(claim: Claim, claims: Claims) -> float | None:
    """The seeds at which a claim is expected to be decided: of its pairs the greatest number.

    From the planning spread, and the published gain or else the margin, whichever is wider; a
    spread of the seeds themselves would be noise while they are few.
    """
    spread = claims.planning_spread.get(claim.experiment)
    counts = []
    for pair in claim.comparisons:
        if not isinstance(pair, Pair):
            counts.append(float(pair.seeds))
            continue
        gain = abs((pair.published or pair.bound) - pair.bound)
        distance = max(gain, pair.margin or 0.0)
        if spread is None or not distance or not pair.statistic.endswith(_SPREAD_OF):
            return None
        counts.append(expected_seeds(distance / spread))
    return max(counts)


if __name__ == "__main__":
    main()
