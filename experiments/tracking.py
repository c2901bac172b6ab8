"""What one sees of a run while it goes on: progress on the terminal, curves on Weights & Biases."""

from __future__ import annotations

import functools
import sys
import uuid
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments import processes
from experiments.configuration import Config, ConfigError
from experiments.identity import arm_name, place_of

MODES = ("disabled", "offline", "online")


@processes.on_first
def check_service(config: Config) -> None:
    """Raise ConfigError for wandb.mode=online where nobody can log in, before data are loaded."""
    if config["wandb"]["mode"] == "online" and (reason := _obstacle()):
        raise ConfigError(
            f"wandb.mode=online: {reason} Log in with `wandb login`, or set wandb.mode=offline and "
            "upload with `wandb sync` later"
        )


@functools.cache
def _obstacle() -> str:
    """Why nothing can be logged online, asked once for a sweep; "" if it can."""
    import wandb

    try:
        wandb.login(verify=True)
    except wandb.Error as error:
        return f"{str(error).splitlines()[0].rstrip('.')}."
    return ""


class Tracker:
    """One W&B run: grouped by experiment and scale, named by arm and seed; a context manager.

    wandb.mode=offline or online; nothing is imported when it is disabled. A run that goes on from
    a checkpoint goes on in the same W&B run: `state` is what `saved`, the checkpoint's position,
    has of it. It ends with the block, however that ends, or a sweep's next run would log into it.
    """

    def __init__(self, config: Config, saved: dict[str, Any] | None, disabled: bool) -> None:
        self._run: Any = None
        if disabled or config["wandb"]["mode"] == "disabled":
            return
        import wandb  # seconds, and threads of its own

        self._run = wandb.init(
            mode=config["wandb"]["mode"],
            project=config["wandb"]["project"],
            group=f"{config['experiment']}-{config['scale']}",
            name=f"{arm_name(config)} seed{config['seed']}",
            config=config,
            dir=config["wandb"].get("dir"),
            id=(saved or {}).get("tracker") or uuid.uuid4().hex[:12],
            resume="allow",
        )
        if config["wandb"]["mode"] == "offline":  # whose later part replaces the earlier one
            for row in (saved or {}).get("rows", []):
                self.log(row)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)

    def state(self) -> str | None:
        """The W&B run's id, for a checkpoint."""
        return self._run.id if self._run is not None else None

    def log(self, row: dict[str, float | None]) -> None:
        if self._run is not None:
            self._run.log(row, step=int(row["epoch"]))

    def finish(self, status: str, rows: list[dict[str, float | None]]) -> None:
        """Log how the run ended ("done" or "diverged"), and all its epochs as a table and curves.

        Those before a resumption are among them.
        """
        if self._run is None:
            return
        import wandb

        names = list(rows[0])
        table = wandb.Table(columns=names, data=[[row[name] for name in names] for row in rows])
        shown = [name for name in names if name not in ("epoch", "lr")]
        curves = {
            f"curves/{name}": wandb.plot.line(table, "epoch", name, title=name) for name in shown
        }
        self._run.log({"metrics": table, **curves}, step=int(rows[-1]["epoch"]))
        self._run.summary["status"] = status


class Progress:
    """A bar with loss and time left on a terminal, one line an epoch elsewhere."""

    def __init__(self, folder: Path, epochs: int, steps: int, done: int, disabled: bool) -> None:
        self._disabled = disabled
        self._name = place_of(folder)
        self._epochs = epochs
        self._bar = tqdm(
            total=epochs * steps,
            initial=done,
            desc=self._name,
            unit="step",
            disable=disabled or not sys.stderr.isatty(),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int) -> None:
        """How many steps are done."""
        if not self._bar.disable:
            self._bar.update(done - self._bar.n)

    def report(self, row: dict[str, float | None], seconds: float) -> None:
        """An epoch's numbers and its seconds of training."""
        if self._disabled:
            return
        shown = {key: value for key, value in row.items() if key not in ("epoch", "lr")}
        text = ", ".join(f"{key} {value:.4g}" for key, value in shown.items() if value is not None)
        self._bar.set_postfix_str(text)
        if self._bar.disable:
            print(
                f"{self._name} epoch {row['epoch']}/{self._epochs}: {text} ({seconds:.1f} s)",
                flush=True,
            )
