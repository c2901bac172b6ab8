"""The task of the paper's toy example (section 3.2, Figure 4): descents on a function of x and y.

There is no data, so a run is this module's own. It moves a grid of starts at once with one
optimizer, whose rule is elementwise: each start moves as if it were alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from experiments import identity, methods, streams
from experiments.record.writer import Record, is_finished
from experiments.schedule import scheduler
from experiments.setting import build, make_optimizer
from experiments.signals import Interruption
from experiments.tasks import Column
from experiments.tracking import Progress, Tracker
from experiments.validate import ConfigError
from models.toy import BASINS, Toy, basins, objective

COLUMNS = {
    "train_loss": Column("mean of f", falls=True),
    "global_share": Column("share of starts in the global basin", 1),
    "local_share": Column("share of starts in the local basin", 1),
    "outside_share": Column("share of starts beyond x = 0", 1),
}
RESULT = "global_share"

# Between the points of a path that are kept. Adam at a high rate never comes to rest, so that
# distance alone would keep points without end: of the steps so far, a share lies between as well.
_APART = 0.03
_SHARE = 1 / 100


def loss(model: Toy, _: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of f over the starts, so that the gradient of each is that of its own f.

    No columns: the record's are evaluated at an epoch's end.
    """
    return model().sum(), {}


@torch.no_grad()
def evaluate(model: Toy) -> dict[str, float]:
    """The mean of f over the starts, and the shares of them, 0–1, that are in each basin."""
    numbers = basins(model.points)
    shares = {
        f"{name}_share": (numbers == number).float().mean().item()
        for number, name in enumerate(BASINS)
        if name != "none"
    }
    return {"train_loss": model().mean().item(), **shares}


def run(config: identity.Config, device: torch.device) -> str:
    """Make the run of a configuration, and return its status.

    It takes seconds, so one that was interrupted starts again. Raises Interrupted, ConfigError.
    """
    epochs, steps = config["epochs"], config["data"]["steps"]
    if not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"data.steps must be a number of steps an epoch, got {steps!r}")
    with streams.forked(config["seed"], "init"):
        model = build(config["model"]).to(device)
    optimizer = make_optimizer(config, model)
    schedule = scheduler(config["schedule"], optimizer, steps, epochs)
    step = make_step(config, model, optimizer, schedule)
    source = {"name": "the paper's equation 3", "format": "formula"}
    with Record(config) as record, Interruption() as interruption:
        if is_finished(config):  # by another process, since
            return "skipped"
        record.start(device, {**source, "train": len(model.points), "test": 0}, None)
        starts, whole, status = model.points.detach().clone(), shown(len(model.points)), "done"
        trail = [starts[whole]]
        with Tracker(config) as tracker, Progress(record.folder, epochs, steps, 0) as progress:
            for epoch in range(1, epochs + 1):
                rate, begin = schedule.get_last_lr()[0], time.perf_counter()
                for number in range((epoch - 1) * steps, epoch * steps):
                    step(number)
                    trail.append(model.points.detach()[whole])
                    progress.advance()
                row = {"epoch": epoch, "lr": rate, **evaluate(model)}
                seconds = time.perf_counter() - begin
                record.add(row, seconds)
                tracker.log(row)
                progress.report(row, seconds)
                if not math.isfinite(row["train_loss"]):
                    status = "diverged"
                    break
                interruption.check()
            tracker.finish(status, record.state()["rows"])
        record.save_paths(path_rows(starts, torch.stack(trail), model.points.detach()))
        record.finish(status, epochs=epoch)
        return status


def make_step(
    config: identity.Config, model: Toy, optimizer: torch.optim.Optimizer, schedule: LRScheduler
) -> Callable[[int], None]:
    """A step of all starts, by its number, from 0."""
    change = methods.gradient_change(config)

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model)[0].backward()
        if change is not None:
            change([model.points.grad], number)
        optimizer.step()
        schedule.step()

    return step


def path_rows(starts: Tensor, trail: Tensor, ends: Tensor) -> list[dict[str, float]]:
    """The rows of paths.csv: of all starts the first and last point, of those in `shown` the path.

    `trail` is where these were after 0, 1, … steps, (steps + 1, number shown, 2), `starts` and
    `ends` are the places of all, (N, 2). The path is the points that `kept_steps` gives. Six
    decimals.
    """
    trail, last = trail.double().cpu(), len(trail) - 1
    pairs = torch.stack((starts, ends)).double().cpu()
    column = {start: number for number, start in enumerate(shown(len(starts)))}
    rows = []
    for start in range(len(starts)):
        if start in column:
            path = trail[:, column[start]]
            steps = kept_steps(path)
            points = path[steps]
        else:
            steps, points = [0, last], pairs[:, start]
        for step, (x, y), f in zip(steps, points.tolist(), objective(points).tolist(), strict=True):
            point = {"x": round(x, 6), "y": round(y, 6), "f": round(f, 6)}
            rows.append({"start": start, "step": step, **point})
    return rows


def shown(starts: int) -> list[int]:
    """The starts of a square grid whose whole paths are kept: three by three, spread over it."""
    side = math.isqrt(starts)
    lines = sorted({side * part // 6 for part in (1, 3, 5)})
    return [row * side + column for row in lines for column in lines]


def kept_steps(path: Tensor) -> list[int]:
    """Of a path (steps + 1, 2), the first and last step, and those apart from the one before.

    Apart by `_APART`, and by `_SHARE` of the steps so far: at first any step, later ever fewer.
    """
    kept, place = [0], path[0].tolist()
    for step, point in enumerate(path.tolist()):
        if step - kept[-1] >= step * _SHARE and math.dist(point, place) > _APART:
            kept.append(step)
            place = point
    last = len(path) - 1
    return kept if kept[-1] == last else [*kept, last]
