"""The paper's toy example: a function of two parameters with a good and a bad minimum (eq. 3).

Its equation is Beale's function with −x² for −x, https://www.sfu.ca/~ssurjano/beale.html.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

X, Y = (-4.0, 0.0), (-2.0, 3.0)  # the box that the paper shows
GLOBAL_MINIMUM = (-0.7494, 1.4165)  # f = 0.0537; the paper prints (−0.74, 1.40)
LOCAL_MINIMUM = (-1.5036, -0.3336)  # f = 0.2753
SADDLE = (-1.2945, 0.5289)  # between the two
BARRIER = 1.3594  # f at the saddle
BASINS = ("none", "global", "local", "outside")  # by the numbers that `basins` gives


def objective(points: Tensor) -> Tensor:
    """f at points (…, 2): (1.5 − x² + xy)² + (2.25 − x² + xy²)² + (2.625 − x² + xy³)²."""
    x, y = points.split(1, dim=-1)
    constants = points.new_tensor((1.5, 2.25, 2.625))
    powers = torch.cat((y, y * y, y * y * y), dim=-1)
    return (constants - x * x + x * powers).square().sum(-1)


def basins(points: Tensor) -> Tensor:
    """The number in BASINS of each of the points (…, 2): where a descent from it must end.

    Where f is below the saddle's value, its level set falls into one part for each minimum, which
    the saddle's y and the line x = 0, along which f is 14.2, keep apart; "outside" is the minimum
    of x > 0, which the box has not. Above that value a descent may still go either way, or without
    end along x = 0 to y = −∞, where f falls to 7.3: "none". A descent is meant whose steps are
    short; a long one, of Adam at a high rate, may climb out of a basin again.
    """
    x, y = points.unbind(-1)
    below = objective(points) < BARRIER
    inside = torch.where(y > SADDLE[1], BASINS.index("global"), BASINS.index("local"))
    return below * torch.where(x < 0, inside, BASINS.index("outside"))


class Toy(nn.Module):
    """A point a start: `points` (N, 2), each as a model of two parameters of its own.

    `starts` (N, 2) are where they began; `trail` holds some of them as `remember` was called.
    """

    starts: Tensor

    def __init__(self, points: Tensor) -> None:
        super().__init__()
        self.points = nn.Parameter(points)
        self.register_buffer("starts", points.clone())
        self.trail: list[Tensor] = []

    def forward(self) -> Tensor:
        """f at the points, (N,)."""
        return objective(self.points)

    def remember(self, numbers: list[int]) -> None:
        """Add where the points of these numbers are, (len(numbers), 2), to the trail."""
        self.trail.append(self.points.detach()[numbers])

    def get_extra_state(self) -> list[Tensor]:
        return self.trail

    def set_extra_state(self, state: list[Tensor]) -> None:
        self.trail = list(state)


def toy(side: int = 20) -> Toy:
    """Starts in the box: one in each cell of a grid of side × side, anywhere in it.

    Start number row · side + column is in that row, from below, and column, from the left.
    Raises ValueError for a side below 1.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corners = torch.stack((column, row), dim=-1).view(-1, 2)
    fractions = (corners + torch.rand(side * side, 2)) / side
    low, high = torch.tensor((X, Y)).T
    return Toy(low + fractions * (high - low))
