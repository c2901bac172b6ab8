"""The record of a run: one folder that holds its configuration, its numbers and how it ended.

config.yaml  the resolved configuration, without paths of the machine
metrics.csv  a row per epoch; nothing in it depends on the clock
timing.csv   epoch,seconds of training
run.json     status (running, done, diverged, or failed, also if interrupted), hash, versions,
             machine, data
predictions.pt  of some test images, where the task has pictures to show
paths.csv    start,step,x,y,f: the toy's descents
correct.bin  one bit per test image, in order, 1 if the finished net is right: numpy's packbits
Files appear whole. A lock that dies with its process keeps a second one out of the folder.
"""

from __future__ import annotations

import csv
import io
import json
import math
import traceback
from contextlib import suppress
from typing import Any

import torch
import yaml

from experiments.configuration import Config
from experiments.identity import arm_name, config_hash, differences, run_folder
from experiments.processes import on_first, together
from experiments.record.atomic import WriteError
from experiments.record.checkpoint import CURRENT, PREVIOUS
from experiments.record.faults import NUMBERS, faults, record_digest
from experiments.record.lock import Lock
from experiments.record.machine import environment
from experiments.record.reader import RecordError, read_info, read_run
from experiments.record.schema import FINISHED
from experiments.signals import Interrupted

_MINE = {"config.yaml", *NUMBERS, "run.json", "predictions.pt", ".lock"}
_MY_PREFIXES = ("checkpoint", "tmp-", ".nfs")  # the last of an open file that was replaced
_MACHINE_KEYS = ("runs_dir", "wandb", "resources")


class Record:
    """The writing side of one run folder; a context manager that holds its lock.

    With writes=False, of a process that only follows another's run, it keeps the rows alone.
    """

    def __init__(self, config: Config, writes: bool = True) -> None:
        self.config, self.writes = config, writes
        self.folder = run_folder(config)
        self.lock: Lock | None = None
        self._rows: list[dict[str, float | None]] = []
        self._seconds: list[float] = []
        self._processes: list[int] = []  # their number, and after a change the next
        self._machines: list[str] = []  # and so device and processor
        self._info: dict[str, Any] = {}

    @together
    def __enter__(self) -> Record:
        if self.writes:
            self.lock = Lock(self.folder)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception | Interrupted) and self._info.get("status") == "running":
            lines = traceback.format_exception(error)[-5:]
            with suppress(WriteError, RecordError):  # they may be what failed; `error` goes on
                self._write_info(status="failed", error=f"{kind.__name__}: {error}", trace=lines)
        if self.lock is not None:
            self.lock.close()

    def state(self) -> dict[str, Any]:
        """The rows so far, for a checkpoint."""
        return {
            "rows": self._rows,
            "seconds": self._seconds,
            "processes": self._processes,
            "machines": self._machines,
        }

    def start(
        self, device: torch.device, data: dict[str, Any], state: dict[str, Any] | None
    ) -> None:
        """Write the configuration and a run.json of status "running".

        Rows go on from those of `state`, a checkpoint's; numbers of later epochs, which will be
        made again, and without a state all numbers, are forgotten.
        """
        if self.writes and (self.folder / "run.json").exists():
            how = f"going on after epoch {len(state['rows'])}" if state else "starting it again"
            print(f"{self.folder} is unfinished: {how}", flush=True)
        if state:
            self._rows, self._seconds = list(state["rows"]), list(state["seconds"])
        if self._rows:
            self._write_rows()
        elif self.lock is not None:
            self.lock.check()
            for name in NUMBERS:
                (self.folder / name).unlink(missing_ok=True)
        config = {key: value for key, value in self.config.items() if key not in _MACHINE_KEYS}
        for group, path in (("data", "root"), ("model", "weights_file")):
            config[group] = {key: value for key, value in config[group].items() if key != path}
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        self._info = {
            "status": "running",
            "hash": config_hash(self.config),
            "arm": arm_name(self.config),
            "seed": self.config["seed"],
            "compile": self.config["lrd"]["compile"],
            "threads": torch.get_num_threads(),
            "data": data,
            **environment(device),
        }
        # its last bits are of several arrangements, if there are several
        now = self._info["processes"]
        self._processes = self._so_far("processes", state, now)
        machine = " / ".join(dict.fromkeys((self._info["device"], self._info["cpu"])))
        self._machines = self._so_far("machines", state, machine)
        self._write_info()

    def _so_far(self, name: str, state: dict[str, Any] | None, now: Any) -> list[Any]:
        """A checkpoint's list of what there was, and is now; recorded if that is not all one."""
        before = (state or {}).get(name, [])
        all_of_them = before if before[-1:] == [now] else [*before, now]
        if len(all_of_them) > 1:
            self._info[f"{name}_so_far"] = all_of_them
        return all_of_them

    def add(self, row: dict[str, float | None], seconds: float) -> None:
        """Append an epoch's row, the first column `epoch`, and its training time.

        What was not evaluated is None, and an empty cell.
        """
        self._rows.append(row)
        self._seconds.append(seconds)
        self._write_rows()

    @property
    def diverged(self) -> bool:
        """Whether the last row has a number that is not finite."""
        last = self._rows[-1].values() if self._rows else ()
        return not all(math.isfinite(value) for value in last if value is not None)

    def save_file(self, name: str, content: Any) -> None:
        """Write what a task keeps: rows as <name>.csv, bytes as they are, others as torch does."""
        if name.endswith(".csv"):
            content = _csv(content).encode()
        elif not isinstance(content, bytes):
            buffer = io.BytesIO()
            torch.save(content, buffer)
            content = buffer.getbuffer()
        self._write(name, content)

    def _write_rows(self) -> None:
        self._write("metrics.csv", _csv(self._rows).encode())
        timing = [
            {"epoch": row["epoch"], "seconds": round(seconds, 3)}
            for row, seconds in zip(self._rows, self._seconds, strict=True)
        ]
        self._write("timing.csv", _csv(timing).encode())

    def finish(self, status: str, **more: Any) -> None:
        """Close the record as "done" or "diverged"."""
        if not self.writes:
            return
        more |= {"status": status, "seconds": round(sum(self._seconds), 1)}
        digest = record_digest(self.folder, {**self._info, **more})
        self._write_info(**more, digest=digest)

    def _write_info(self, **more: Any) -> None:
        self._info |= more
        text = json.dumps(self._info, indent=1, ensure_ascii=False) + "\n"
        self._write("run.json", text.encode())

    def _write(self, name: str, content: bytes | memoryview) -> None:
        if self.lock is not None:
            self.lock.rename(self.lock.write_aside(name, content), name)


@on_first
def is_finished(config: Config) -> bool:
    """Whether this run was made before: done or diverged, with the same configuration.

    Raises RecordError if it was made, or begun and left with a checkpoint, with another
    configuration, if its files are not as it left them, or if its folder holds what no run has
    written.
    """
    folder = run_folder(config)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [
        name
        for name in names
        if not (name in _MINE or name.startswith(_MY_PREFIXES)) or (folder / name).is_symlink()
    ]
    if foreign:
        raise RecordError(
            f"{folder} holds what no run has written, files or links: {', '.join(foreign[:5])}. "
            "Move it away, or name another place with runs_dir=…"
        )
    if "run.json" not in names:
        return False
    info = read_info(folder)
    finished = info["status"] in FINISHED
    if not finished and CURRENT not in names and PREVIOUS not in names:
        return False
    run = read_run(folder)
    wrong = faults(run)
    lines = "\n  ".join(differences(run.config, config))
    if not wrong and not lines and info["hash"] != config_hash(config):
        wrong = ["config.yaml is not the one that run.json was written with (hash)"]
    if wrong:
        raise RecordError(
            f"{folder} is not as its run left it: {'; '.join(wrong)}. Put its files back, or move "
            "it away to run it again"
        )
    if lines:
        raise RecordError(
            f"{folder} is {'a finished' if finished else 'an unfinished'} run of another "
            f"configuration:\n  {lines}\n"
            "Move it away, or write this one elsewhere with runs_dir=…"
        )
    return finished


def _csv(rows: list[dict[str, float | None]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
