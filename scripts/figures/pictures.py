"""Pictures of a few validation images with truth and predictions, from the runs' predictions.pt.

Of photographs they must stay out of the repository; of drawn shapes they may be shown.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from data.voc_files import IGNORE
from data.voc_lists import CLASSES
from experiments.tasks.detection import SHOWN
from scripts.figures.style import WIDTH, caption, legend, panels
from scripts.item import ResultError

COLUMNS = 6
Predictions = dict[str, Tensor]


def read_predictions(folder: Path) -> Predictions | None:
    """Takes a run's folder, returns what the run saved at its end, or None if it saved nothing.

    Raises ResultError for a file that cannot be read.
    """
    path = folder / "predictions.pt"
    if not path.is_file():
        return None
    try:
        return torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ResultError(
            f"{path} is damaged ({type(error).__name__}): delete the run's folder to run it again"
        ) from error


def draw_predictions(task: str, saved: dict[str, Predictions], text: str) -> Figure:
    """Images in columns; truth and each method's predictions, by name, in rows.

    The methods must have seen the same images, or ResultError is raised.
    """
    first = next(iter(saved.values()))
    for name, predictions in saved.items():
        if not torch.equal(predictions["images"], first["images"]):
            raise ResultError(f"the predictions of {name} are of other images: run it again")
    count = min(COLUMNS, len(first["images"]))
    segmentation = task == "segmentation"
    rows = ["image", "truth", *saved] if segmentation else ["truth", *saved]
    figure, grid = panels(len(rows), COLUMNS, WIDTH / COLUMNS * len(rows) + 0.9)
    for name, line in zip(rows, grid, strict=True):
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name)
        for number, axes in enumerate(line[:count]):
            if segmentation:
                _draw_mask(axes, name, saved, first, number)
            else:
                _draw_boxes(axes, name, saved, first, number)
    if segmentation:
        _add_legend(figure, saved, first, count)
    else:
        text += f". Boxes of score {SHOWN:g} or more"
    caption(figure, text)
    return figure


def _draw_mask(
    axes: Axes, row: str, saved: dict[str, Predictions], first: Predictions, number: int
) -> None:
    if row == "image":
        axes.imshow(_picture(first, number))
        return
    truth = first["truth"][number].numpy()
    classes = truth if row == "truth" else saved[row]["prediction"][number].numpy().copy()
    if row != "truth":
        classes[truth == IGNORE] = IGNORE  # padding and borders, where nothing is counted
    axes.imshow(palette()[classes], interpolation="nearest")


def _draw_boxes(
    axes: Axes, row: str, saved: dict[str, Predictions], first: Predictions, number: int
) -> None:
    axes.imshow(_picture(first, number))
    table = first["truth"] if row == "truth" else saved[row]["prediction"]
    for label, x0, y0, x1, y1, *_ in table[table[:, 0] == number][:, 1:].tolist():
        colour = palette()[int(label)] / 255
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=1.5))
        axes.text(
            *(x0 + 1, y0 + 1),
            CLASSES[int(label) - 1],
            fontsize=5,
            va="top",
            color="black" if colour.mean() > 0.4 else "white",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5},
            clip_on=True,
        )


def _picture(predictions: Predictions, number: int) -> np.ndarray:
    return predictions["images"][number].permute(1, 2, 0).numpy()


def _add_legend(
    figure: Figure, saved: dict[str, Predictions], first: Predictions, count: int
) -> None:
    shown = [first["truth"][:count], *(method["prediction"][:count] for method in saved.values())]
    labels = sorted(set(torch.cat(shown).unique().tolist()) - {IGNORE})
    names = ("background", *CLASSES)
    handles = [Patch(facecolor=palette()[one] / 255, label=names[one]) for one in labels]
    handles.append(Patch(facecolor="white", edgecolor="0.6", label="not counted"))
    legend(figure, handles, 6, fontsize=7)


def palette() -> np.ndarray:
    """VOC's own colours of the 256 mask values, (256, 3) uint8, but white for the ignored one.

    The bits of a number, from the lowest, go in turn to red, green and blue, from the highest.
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> channel & 1) << (7 - bit)).astype(np.uint8)
        numbers = numbers >> 3
    colours[IGNORE] = 255
    return colours
