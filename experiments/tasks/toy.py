"""The task of the paper's toy example (section 3.2, Figure 4): descents on a function of x and y.

There is no data. A run moves a grid of starts at once with one optimizer, whose rule is
elementwise: each start moves as if it were alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.configuration import Config
from experiments.tasks import Column
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


class Steps:
    """An epoch of a task without data: so many steps, each on nothing."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def counts(self, start: int = 0) -> list[int]:
        return [1] * (self._count - start)

    def epoch(self, order: Any, augmentation: Any, start: int = 0, part: Any = None) -> list[None]:
        return [None] * (self._count - start)


class NoData(NamedTuple):
    """What stands for a data set: where the function is from, and the steps of an epoch."""

    provenance: dict[str, Any]
    steps: int

    def loaders(self, batch_size: int, device: torch.device) -> tuple[Steps, tuple[()]]:
        return Steps(self.steps), ()


def data(config: Config) -> NoData:
    """The stand-in for a data set."""
    source = {"name": "the paper's equation 3", "format": "formula"}
    starts = config["model"]["side"] ** 2
    return NoData({**source, "train": starts, "test": 0}, config["data"]["steps"])


def loss(model: Toy, _: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of f over the starts, so that the gradient of each is that of its own f.

    No columns: the record's are evaluated at an epoch's end. The model remembers where it was.
    """
    model.remember(shown(len(model.points)))
    return model().sum(), {}


@torch.no_grad()
def evaluate(model: Toy, _: Any = None) -> dict[str, float]:
    """The mean of f over the starts, and the shares of them, 0–1, that are in each basin."""
    numbers = basins(model.points)
    shares = {
        f"{name}_share": (numbers == number).float().mean().item()
        for number, name in enumerate(BASINS)
        if name != "none"
    }
    return {"train_loss": model().mean().item(), **shares}


@torch.no_grad()
def files(config: Config, model: Toy, _: Any) -> dict[str, list[dict[str, float]]]:
    """The descents, as rows of paths.csv."""
    model.remember(shown(len(model.points)))
    return {"paths.csv": path_rows(model.starts, torch.stack(model.trail), model.points)}


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
