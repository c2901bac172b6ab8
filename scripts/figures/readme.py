"""The README's picture: the updates of some parameters, without and with the masks of `lrd`."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

import lrd
from scripts.figures.style import canvas

KEEP_PROB = 0.5
SIDE, STEPS, MOMENTUM = 8, 5, 0.9
ROWS = {
    "Without LRD: every parameter takes its update ΔW": False,
    "With LRD, p = 0.5: about half of them do, drawn anew at every step": True,
}


def momentum_updates() -> torch.Tensor:
    """SGDM's ΔW_t, of steps 1 to STEPS, for parameters under noisy gradients: (STEPS, 8, 8)."""
    generator = torch.Generator().manual_seed(1)
    slope = 0.4 * torch.randn(SIDE, SIDE, generator=generator)
    momentum, updates = torch.zeros(SIDE, SIDE), []
    for _ in range(STEPS):
        momentum = MOMENTUM * momentum + slope + torch.randn(SIDE, SIDE, generator=generator)
        updates.append(momentum)
    return torch.stack(updates)


def draw_lrd() -> Figure:
    """The same updates of 64 parameters twice: as they are, and under `lrd`'s masks."""
    updates = momentum_updates()
    bound = updates.abs().max().item()
    figure = canvas(4.1, width=7)
    for band, (title, masked) in zip(figure.subfigures(2, 1), ROWS.items(), strict=True):
        band.suptitle(title, fontsize=11)
        row = band.subplots(1, STEPS)
        for t, axes in enumerate(row):
            kept = torch.ones(SIDE, SIDE, dtype=torch.bool)
            if masked:
                kept = lrd.keep_mask((SIDE, SIDE), KEEP_PROB, seed=0, step=t, index=0)
            shown = updates[t].masked_fill(~kept, torch.nan).numpy()
            image = axes.imshow(shown, cmap="PuOr", vmin=-bound, vmax=bound)
            y, x = (~kept).numpy().nonzero()
            axes.scatter(x, y, marker="x", s=12, color="0.55", linewidths=0.8)
            axes.set(facecolor="0.93", xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_xlabel(f"step {t + 1}", fontsize=10)
        bar = band.colorbar(image, ax=list(row), shrink=0.9, ticks=[-bound, 0, bound])
        bar.ax.set_yticklabels(["−", "0", "+"], fontsize=10)
        bar.set_label("ΔW", fontsize=10)
    figure.supxlabel(
        "× learning rate dropped in this step: the parameter stays, its momentum goes on",
        fontsize=10,
    )
    return figure
