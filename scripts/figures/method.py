"""Figures 1 to 3: the method computed and drawn, without runs.

The masks are `lrd.keep_mask`'s.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

import lrd
from scripts.figures.style import caption, legend, panels

KEEP_PROB = 0.5
BLUE, RED, YELLOW, GREY = "#0072B2", "#D55E00", "#F0E442", "0.6"
SADDLE_START, SADDLE_STEPS, SADDLE_RATE = (1.25, 1.25), 9, 0.15
SADDLE_SEED = 7  # of the masks: one in which few steps drop both, for a clear picture
LAYERS = (3, 4, 4, 2)  # units of Figure 2's net
CUBE_START, CUBE_RATE = (1.0, 1.0, 1.0), 0.2


def saddle(point: Tensor) -> Tensor:
    """2xy = u² − v², a saddle whose directions u and v lie at 45° to the parameters x and y."""
    return 2 * point[..., 0] * point[..., 1]


def saddle_states(masked: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient descent from the ridge u: states (steps + 1, 2), updates and masks (steps, 2)."""
    states, updates, masks = [torch.tensor(SADDLE_START)], [], []
    for step in range(SADDLE_STEPS):
        point = states[-1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(saddle(point), point)
        kept = torch.ones(2, dtype=torch.bool)
        if masked:
            kept = lrd.keep_mask(2, KEEP_PROB, seed=SADDLE_SEED, step=step, index=0)
        updates.append(-SADDLE_RATE * gradient)
        masks.append(kept)
        states.append(states[-1] + kept * updates[-1])
    return torch.stack(states), torch.stack(updates), torch.stack(masks)


def draw_saddle() -> Figure:
    """Figure 1: descents from the ridge of a saddle, without and with learning rate dropout."""
    figure, grid = panels(1, 2, 4.8)
    side = torch.linspace(-1.6, 1.6, 200)
    f = saddle(torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1))
    levels = np.linspace(-4.5, 4.5, 19)
    titles = {"(a) gradient descent": False, "(b) with learning rate dropout, p = 0.5": True}
    for axes, (title, masked) in zip(grid[0], titles.items(), strict=True):
        axes.contourf(side, side, f, levels, cmap="PuOr", alpha=0.35, extend="both")
        axes.contour(side, side, f, levels, colors="0.7", linewidths=0.4)
        states, updates, masks = saddle_states(masked)
        axes.plot(*states.T, color="black", linewidth=0.9, zorder=2)
        for state, update, kept in zip(states, updates, masks, strict=False):
            _draw_updates(axes, state.tolist(), update.tolist(), kept.tolist())
        dots = {"linestyle": "none", "marker": "o", "mec": "black", "mew": 0.6, "zorder": 4}
        axes.plot(*states[1:].T, color=YELLOW, markersize=5, **dots)
        axes.plot(*states[0], color=RED, markersize=6.5, **dots)
        axes.plot(0, 0, marker="+", color="black", markersize=9, zorder=3)
        f_last = f"{saddle(states[-1]).item():.2f}".replace("-", "−")
        axes.set_title(f"{title}\nf = {f_last} after {SADDLE_STEPS} steps")
        axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", xlabel="x")
    figure.axes[0].set_ylabel("y")
    dot = {"linestyle": "none", "marker": "o", "mec": "black"}
    handles = [
        Line2D([], [], color=RED, label="initial state", **dot),
        Line2D([], [], color=YELLOW, label="subsequent states", **dot),
        Line2D([], [], color=RED, label="update of a parameter"),
        Line2D([], [], marker="x", color="0.3", linestyle=":", label="dropped learning rate"),
        Line2D([], [], marker="+", color="black", linestyle="none", label="saddle point"),
    ]
    legend(figure, handles, 5, columnspacing=1.2)
    text = (
        "f = 2xy, from a point on the ridge x = y; one draw of the masks. Both parameters together "
        "can only follow the ridge to the saddle; one of them alone leaves it. On a saddle whose "
        "directions are the parameters' own, as of x² − y², dropping one would not help."
    )
    caption(figure, text)
    return figure


def _draw_updates(axes: Axes, state: list[float], update: list[float], kept: list[bool]) -> None:
    """The update of each parameter, from a state: an arrow, or a cross where it is dropped."""
    for number, (change, keep) in enumerate(zip(update, kept, strict=True)):
        tip = list(state)
        tip[number] += change
        if keep:
            head = "-|>,head_width=0.18,head_length=0.35"
            _draw_arrow(axes, state, tip, 3, color=RED, lw=1.1, arrowstyle=head)
        else:
            axes.plot(*zip(state, tip, strict=True), color="0.3", linestyle=":", lw=0.9, zorder=3)
            axes.plot(*tip, marker="x", color="0.3", markersize=5, zorder=3)


def _draw_arrow(axes: Axes, start: Any, tip: Any, zorder: int, **style: Any) -> None:
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", tip, start, arrowprops=arrow, zorder=zorder)


def net_masks(step: int) -> list[Tensor]:
    """The masks of the net's weights at a step: (units above, units below) for each layer."""
    return [
        lrd.keep_mask((above, below), KEEP_PROB, seed=0, step=step, index=layer)
        for layer, (below, above) in enumerate(pairwise(LAYERS))
    ]


def unit_masks() -> list[Tensor]:
    """Standard dropout's hidden units: input and output units are all kept."""
    return [
        lrd.keep_mask(units, KEEP_PROB, seed=5, step=0, index=layer)
        if 0 < layer < len(LAYERS) - 1
        else torch.ones(units, dtype=torch.bool)
        for layer, units in enumerate(LAYERS)
    ]


def draw_net() -> Figure:
    """Figure 2: which weights of a net are updated by back-propagation, dropout and LRD."""
    figure, grid = panels(1, 4, 2.7)
    everything = [torch.ones(units, dtype=torch.bool) for units in LAYERS]
    every_weight = [mask | True for mask in net_masks(0)]
    weights = {
        "(a) back-propagation": (everything, every_weight),
        "(b) dropout": (unit_masks(), every_weight),
        "(c) LRD, one step": (everything, net_masks(0)),
        "(d) LRD, the next step": (everything, net_masks(1)),
    }
    for axes, (title, masks) in zip(grid[0], weights.items(), strict=True):
        _draw_weights(axes, *masks)
        axes.set_title(title)
        axes.set_axis_off()
        axes.set(xlim=(-0.25, len(LAYERS) - 0.75), ylim=(-2, 2))
    unit = {"marker": "o", "linestyle": "none", "markersize": 7, "mec": "black"}
    handles = [
        Line2D([], [], color="black", label="weight, updated"),
        Line2D([], [], color=RED, linestyle=(0, (2, 1.5)), label="learning rate dropped"),
        Line2D([], [], mfc="white", label="unit", **unit),
        (
            Line2D([], [], mfc="0.85", **{**unit, "mec": GREY}),
            Line2D([], [], marker="x", color="0.3", linestyle="none", markersize=5),
        ),
    ]
    labels = [*(handle.get_label() for handle in handles[:-1]), "dropped unit"]
    legend(figure, handles, 4, labels=labels)
    caption(
        figure,
        "A weight whose learning rate is dropped takes part in the forward and backward pass; a "
        "dropped unit's do not.",
    )
    return figure


def _draw_weights(axes: Axes, units: list[Tensor], weights: list[Tensor]) -> None:
    """Lines for the weights between kept units, dashed where `weights` drops them; circles."""
    places = [[(layer, unit - (n - 1) / 2) for unit in range(n)] for layer, n in enumerate(LAYERS)]
    for layer, kept in enumerate(weights):
        for above, below in product(range(kept.shape[0]), range(kept.shape[1])):
            if not (units[layer][below] and units[layer + 1][above]):
                continue
            ends = zip(places[layer][below], places[layer + 1][above], strict=True)
            if kept[above, below]:
                axes.plot(*ends, color="black", linewidth=0.9, zorder=2)
            else:
                axes.plot(*ends, color=RED, linewidth=1.1, linestyle=(0, (2, 1.5)), zorder=1)
    for layer, kept in enumerate(units):
        for place, keep in zip(places[layer], kept.tolist(), strict=True):
            face, edge = ("white", "black") if keep else ("0.85", GREY)
            axes.plot(*place, "o", markersize=10, mfc=face, mec=edge, zorder=3)
            if not keep:
                axes.plot(*place, "x", markersize=7, color="0.3", zorder=4)


def cube_loss(weights: Tensor) -> Tensor:
    """A convex function of three parameters, (…, 3), that are not alike and not independent."""
    w1, w2, w3 = weights.unbind(-1)
    return w1**2 + 0.7 * w2**2 + 0.85 * w3**2 + 0.3 * (w1 * w2 + w2 * w3)


def descent_paths() -> tuple[Tensor, Tensor, Tensor]:
    """Figure 3's eight masks (8, 3), one gradient step under each (8, 3), and f after it (8,)."""
    start = torch.tensor(CUBE_START).requires_grad_()
    (gradient,) = torch.autograd.grad(cube_loss(start), start)
    masks = torch.tensor(list(product((True, False), repeat=3)))
    updates = -CUBE_RATE * masks * gradient
    return masks, updates, cube_loss(start.detach() + updates)


def draw_descent_paths() -> Figure:
    """Figure 3: of three parameters, the eight paths of which each step takes one."""
    masks, updates, after = descent_paths()
    before = cube_loss(torch.tensor(CUBE_START)).item()
    full = updates[0]
    figure, grid = panels(2, 4, 3.9)
    for axes, kept, update, f in zip(
        grid.flat, masks.tolist(), updates, after.tolist(), strict=True
    ):
        _draw_box(axes, full)
        for number, (keep, name) in enumerate(zip(kept, ("w₁", "w₂", "w₃"), strict=True)):
            _draw_component(axes, number, full, keep, name)
        if any(kept):
            dashed = {"color": "black", "lw": 1.3, "linestyle": (0, (3, 2))}
            _draw_arrow(axes, (0, 0), _projected(update), 5, **dashed)
        axes.plot(0, 0, "o", color=BLUE, markersize=7, zorder=6)
        dropped = ", ".join("1" if keep else "0" for keep in kept)
        change = f"f: {before:.2f} → {f:.2f}" if any(kept) else f"f stays {before:.2f}"
        axes.set_title(f"D = ({dropped})\n{change}")
        axes.set(xlim=(-0.68, 0.48), ylim=(-0.78, 0.12), aspect="equal")
        axes.set_axis_off()
    handles = [
        Line2D([], [], marker="o", color=BLUE, linestyle="none", label="state"),
        Line2D([], [], color=RED, label="update of a parameter"),
        Line2D([], [], marker="x", color="0.3", linestyle=":", label="dropped learning rate"),
        Line2D([], [], color="black", linestyle=(0, (3, 2)), label="update of the model"),
    ]
    legend(figure, handles, 4)
    caption(
        figure,
        "One gradient step from the same state under each mask D; with p = 0.5 each of the eight "
        "comes with probability 1/8.",
    )
    return figure


def _projected(point: Tensor) -> tuple[float, float]:
    """An oblique view of three dimensions."""
    w1, w2, w3 = point.tolist()
    return w1 - 0.55 * w2, 0.38 * w2 + w3


def _draw_box(axes: Axes, full: Tensor) -> None:
    """The edges of the box that the three updates span."""
    for corner in product((0, 1), repeat=3):
        for number in range(3):
            if corner[number] == 0:
                ends = [torch.tensor(corner) * full]
                ends.append(ends[0] + torch.eye(3)[number] * full)
                places = zip(*map(_projected, ends), strict=True)
                axes.plot(*places, color="0.85", linewidth=0.7, zorder=1)


def _draw_component(axes: Axes, number: int, full: Tensor, keep: bool, name: str) -> None:
    """One parameter's update, with its name at the tip."""
    tip = _projected(torch.eye(3)[number] * full)
    if keep:
        _draw_arrow(axes, (0, 0), tip, 4, color=RED, lw=1.4)
    else:
        axes.plot((0, tip[0]), (0, tip[1]), color="0.3", linestyle=":", linewidth=1, zorder=3)
        axes.plot(*tip, marker="x", color="0.3", markersize=6, zorder=4)
    offsets = ((0, 8), (9, -3), (0, -10))  # points, to where no path passes
    axes.annotate(name, tip, offsets[number], textcoords="offset points", ha="center", va="center")


DRAWINGS = {
    "figure1": draw_saddle,
    "figure2": draw_net,
    "figure3": draw_descent_paths,
}
