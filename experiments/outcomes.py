"""How the jobs of one command ended: each notes it in a file, and the command sums them up.

A job may run in another process, or on another machine that shares the folder.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_FILE = "LRD_OUTCOMES"  # the variable that names the file
_NO_RESULT = ("failed", "missing", "busy", "not begun")


class Outcome(NamedTuple):
    """A job's words, its status, and the error if it has one."""

    run: str
    status: str  # done, diverged, skipped, busy, failed, interrupted, not begun, or missing
    error: str


@contextmanager
def collected() -> Iterator[list[Outcome]]:
    """Takes nothing, gives a list that holds the jobs' outcomes when the block has ended."""
    outcomes: list[Outcome] = []
    place = _place()
    if place != os.getcwd():
        os.environ.setdefault("LRD_SWEEP", os.path.join(place, ".hydra"))  # conf/config.yaml
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", dir=place, prefix=".jobs-") as file:
        os.environ[_FILE] = file.name
        try:
            yield outcomes
        finally:
            last = {outcome.run: outcome for outcome in (Outcome(*json.loads(x)) for x in file)}
            outcomes.extend(last.values())


def _place() -> str:
    """Where the nodes of a cluster see files too: here, or in runs_dir if this is read-only."""
    if os.access(".", os.W_OK):
        return os.getcwd()
    names = [word.partition("=")[2] for word in sys.argv if word.startswith("runs_dir=")]
    try:
        place = Path(names[-1].strip("'\"")).expanduser().resolve()
        place.mkdir(parents=True, exist_ok=True)
    except (IndexError, OSError):  # the run will say it, if it cannot write there
        return tempfile.gettempdir()
    return str(place)


class Announcement(Callback):
    """Hydra's callback that notes a sweep's jobs before the first of them begins."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        own = config.hydra.sweeper.get("params") or {}
        given = [f"{key}={value}" for key, value in own.items()] + list(config.hydra.overrides.task)
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # for glob(…)
        overrides = parser.parse_overrides(given)
        for batch in BasicSweeper.split_arguments(overrides, None):
            for job in batch:
                note(" ".join(job), "not begun")


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


def summary(outcomes: list[Outcome], interrupted: bool = False) -> str:
    """Counts by status, and a line for each job that is not as it should be.

    In a command that was `interrupted`, launchers end their workers before they note it.
    """
    if interrupted:
        outcomes = [
            outcome._replace(status="interrupted") if outcome.status == "missing" else outcome
            for outcome in outcomes
        ]
    counts = Counter(outcome.status for outcome in outcomes)
    lines = [", ".join(f"{count} {status}" for status, count in sorted(counts.items()))]
    for outcome in outcomes:
        if outcome.status in (*_NO_RESULT, "diverged", "interrupted"):
            reason = f": {outcome.error.splitlines()[0]}" if outcome.error else ""
            lines.append(f"{outcome.status}: {outcome.run}{reason}")
    return "\n".join(lines)
