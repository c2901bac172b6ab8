"""Curves on Weights & Biases: wandb.mode=offline or online; nothing is imported when disabled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.naming import Config, arm_name

MODES = ("disabled", "offline", "online")


class Tracker:
    """One W&B run: grouped by experiment and scale, named by arm and seed."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._run: Any = None
        if config["wandb"]["mode"] == "disabled":
            return
        import wandb

        self._run = wandb.init(
            mode=config["wandb"]["mode"],
            project=config["wandb"]["project"],
            group=f"{config['experiment']}-{config['scale']}",
            name=f"{arm_name(config)} seed{config['seed']}",
            config=config,
            dir=config["wandb"].get("dir"),
        )

    def log(self, row: dict[str, float]) -> None:
        if self._run is not None:
            self._run.log(row, step=int(row["epoch"]))

    def finish(self, status: str) -> None:
        if self._run is not None:
            self._run.summary["status"] = status
            self._run.finish(exit_code=0 if status == "done" else 1)
