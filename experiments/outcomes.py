"""How the jobs of one command ended: each notes it in a file, and the command sums them up.

A job may run in another process, or on another machine that shares the folder.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_FILE = "LRD_OUTCOMES"  # the variable that names the file
_NO_RESULT = ("failed", "missing", "busy")


class Outcome(NamedTuple):
    """A job's words, its status, and the error if it has one."""

    run: str
    status: str  # done, diverged, skipped, busy, failed, interrupted; missing until one is noted
    error: str


@contextmanager
def collected() -> Iterator[list[Outcome]]:
    """Takes nothing, gives a list that holds the jobs' outcomes when the block has ended."""
    outcomes: list[Outcome] = []
    # here, where the nodes of a cluster see it too, if anything can be written here
    place = os.getcwd() if os.access(".", os.W_OK) else None
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", dir=place, prefix=".jobs-") as file:
        os.environ[_FILE] = file.name
        try:
            yield outcomes
        finally:
            last = {outcome.run: outcome for outcome in (Outcome(*json.loads(x)) for x in file)}
            outcomes.extend(last.values())


def command() -> str:
    """The same for all jobs of a command, and for no other's; empty outside of one."""
    return os.environ.get(_FILE, "")


def note(run: str, status: str, error: str = "") -> None:
    """Note how a job ended; a later note of the same job counts."""
    with open(os.environ[_FILE], "a", encoding="utf-8") as file:
        file.write(json.dumps([run, status, error]) + "\n")


def failures(outcomes: list[Outcome]) -> int:
    """How many jobs have left no result."""
    return sum(outcome.status in _NO_RESULT for outcome in outcomes)


def summary(outcomes: list[Outcome]) -> str:
    """Counts by status, and a line for each job that is not as it should be."""
    counts = Counter(outcome.status for outcome in outcomes)
    lines = [", ".join(f"{count} {status}" for status, count in sorted(counts.items()))]
    for outcome in outcomes:
        if outcome.status in (*_NO_RESULT, "diverged"):
            reason = f": {outcome.error.splitlines()[0]}" if outcome.error else ""
            lines.append(f"{outcome.status}: {outcome.run}{reason}")
    return "\n".join(lines)
