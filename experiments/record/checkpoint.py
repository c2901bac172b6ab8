"""Checkpoints: all that an interrupted run needs to go on as if it had never stopped.

`checkpoint.pt` is a file of torch.save with its SHA-256 behind, `checkpoint-previous.pt` the one
before. They hold the state of model, optimizer and schedule, the run's position, and its rows so
far; random streams have no state (experiments/streams.py). A finished run keeps the model alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import torch

from experiments.processes import on_first
from experiments.record.lock import Lock

FORMAT = 1
CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"
_DIGEST = hashlib.sha256().digest_size
_SHARE = 0.01  # of the run's time that the checkpoints at epochs' ends may take


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be continued from; the message says why and what to do."""


class Checkpoints:
    """The checkpoints of one run folder.

    `parts`, which have a state_dict, are saved and restored by name. `identity` says which run it
    is; another one's checkpoint is refused. Between epochs' ends there is one every `minutes`; none
    without the folder's lock, of a process that only follows another's run.
    """

    def __init__(
        self,
        folder: Path,
        parts: dict[str, Any],
        identity: dict[str, Any],
        minutes: float,
        lock: Lock | None,
    ) -> None:
        self._folder, self._parts, self._minutes, self._lock = folder, parts, minutes, lock
        self._identity = {"format": FORMAT, "torch": str(torch.__version__), **identity}
        self._saved, self._cost = time.monotonic(), 0.0
        self.seconds = 0.0  # that all of this process's have taken

    def due(self, epoch_ended: bool) -> bool:
        """Whether it is time for one; the end of a short epoch is skipped, so that they stay
        within a hundredth of the run's time."""
        elapsed = time.monotonic() - self._saved
        if self._lock is None:
            return False
        return elapsed > 60 * self._minutes or (epoch_ended and elapsed * _SHARE >= self._cost)

    def save(self, position: dict[str, Any]) -> None:
        """Write a checkpoint beside the last one, which becomes the previous. Raises WriteError."""
        if self._lock is None:
            return
        begin = time.monotonic()
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        self._write({"identity": self._identity, "position": position, **parts})
        self._saved = time.monotonic()
        self._cost = self._saved - begin
        self.seconds += self._cost

    @on_first
    def read(self) -> dict[str, Any] | None:
        """The last whole checkpoint, or None if there is none.

        Says so where one is damaged. Raises CheckpointError for one of another run or version.
        """
        for name in (CURRENT, PREVIOUS):
            path = self._folder / name
            if not path.exists():
                continue
            state = _read(path)
            if state is None:
                print(f"{path} is damaged and is left aside", flush=True)
                continue
            self._check_identity(path, state["identity"])
            if "position" in state:  # or it is of a finished run, whose record was taken away
                _check_position(path, state["position"])
                return {**state, "path": path}
        return None

    def restore(self) -> dict[str, Any] | None:
        """Load the last whole checkpoint into the parts; its position, or None without one."""
        state = self.read()
        if state is None:
            return None
        for key, part in self._parts.items():
            try:
                part.load_state_dict(state[key])
            except Exception as error:  # whatever its content makes of it
                raise _wrong(state["path"], f"{key}: {error!r}") from error
        return state["position"]

    def keep_model(self) -> None:
        """Reduce the checkpoints of a finished run to the model's final state."""
        if self._lock is None:
            return
        self._write({"identity": self._identity, "model": self._parts["model"].state_dict()})
        (self._folder / PREVIOUS).unlink(missing_ok=True)

    def _write(self, state: dict[str, Any]) -> None:
        assert self._lock is not None
        content = io.BytesIO()
        torch.save(state, content)
        current = self._folder / CURRENT
        digest = hashlib.sha256(content.getbuffer()).digest()
        aside = self._lock.write_aside(CURRENT, content.getbuffer(), digest)
        if current.exists():
            os.replace(current, self._folder / PREVIOUS)
        self._lock.rename(aside, CURRENT)

    def _check_identity(self, path: Path, found: dict[str, Any]) -> None:
        found = {"device": "cpu", "clean_train": 0, **found}  # of which early ones say nothing
        differ = [
            f"{key}: {found.get(key)} -> {value}"
            for key, value in self._identity.items()
            if found.get(key) != value
        ]
        if differ:
            raise CheckpointError(
                f"{path} is of another run or version: {', '.join(differ)}. Go on with what it "
                "was made with, or delete its folder to start again"
            )


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a checkpoint; None if its bytes are not those that were written."""
    content = path.read_bytes()
    state, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(state).digest() != digest:
        return None
    try:
        content = torch.load(io.BytesIO(state), weights_only=True, map_location="cpu")
    except Exception as error:  # of pickle, zip or torch
        raise _wrong(path, repr(error)) from error
    if not isinstance(content, dict) or not isinstance(content.get("identity"), dict):
        raise _wrong(path, "it has no identity")
    return content


def _check_position(path: Path, position: Any) -> None:
    """Whether rows, seconds and epoch of a checkpoint go together."""
    lists = isinstance(position, dict) and all(
        isinstance(position.get(key), list) for key in ("rows", "seconds", "processes")
    )
    if not lists or not {"epoch", "step", "epoch_seconds", "sums"} <= position.keys():
        raise _wrong(path, "it has no position")
    epochs = [row.get("epoch") if isinstance(row, dict) else None for row in position["rows"]]
    whole = epochs == [*range(1, len(epochs) + 1)] and len(position["seconds"]) == len(epochs)
    if not whole or position["epoch"] != len(epochs) + 1:
        raise _wrong(path, f"it is in epoch {position['epoch']!r}, with rows of {epochs}")


def _wrong(path: Path, reason: str) -> CheckpointError:
    shown = " ".join(reason.split())[:300]
    return CheckpointError(
        f"{path} has the right checksum and is no checkpoint of this run ({shown}): delete its "
        "folder to run it again"
    )
