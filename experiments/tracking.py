"""Curves on Weights & Biases: wandb.mode=offline or online; nothing is imported when disabled."""

from __future__ import annotations

from typing import Any

from experiments.naming import Config, arm_name

MODES = ("disabled", "offline", "online")


class Tracker:
    """One W&B run: grouped by experiment and scale, named by arm and seed; a context manager.

    It ends with the block, however that ends: wandb.init would go on in a run left open, and a
    sweep's next run would log into a failed one.
    """

    def __init__(self, config: Config) -> None:
        self._run: Any = None
        if config["wandb"]["mode"] == "disabled":
            return
        import wandb  # seconds, and threads of its own

        self._run = wandb.init(
            mode=config["wandb"]["mode"],
            project=config["wandb"]["project"],
            group=f"{config['experiment']}-{config['scale']}",
            name=f"{arm_name(config)} seed{config['seed']}",
            config=config,
            dir=config["wandb"].get("dir"),
        )

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)

    def log(self, row: dict[str, float]) -> None:
        if self._run is not None:
            self._run.log(row, step=int(row["epoch"]))

    def summarise(self, status: str) -> None:
        """Show how the run ended: "done" or "diverged"."""
        if self._run is not None:
            self._run.summary["status"] = status
