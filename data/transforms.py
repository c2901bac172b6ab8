"""Joint transforms of image and mask, and of image and boxes, by torchvision's v2.

Images are (3, H, W) uint8; what is left of a canvas gets ImageNet's mean colour, and a mask's
ignored value, so that padding is never learnt from.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from data.voc_files import IGNORE

MEAN_COLOUR = [124, 116, 104]
_FILL = {tv_tensors.Image: MEAN_COLOUR, tv_tensors.Mask: IGNORE}


def segmentation_training(crop: int) -> v2.Transform:
    """PSPNet's augmentation: scale 0.5–2, and half the time each rotation ±10°, blur and flip.

    A crop of `crop` pixels a side is taken at random, from a padded image where it is smaller.
    As in the authors' https://github.com/hszhao/semseg (tool/train.py).
    """
    rotation = v2.RandomRotation(10, interpolation=InterpolationMode.BILINEAR, fill=_FILL)
    return v2.Compose(
        [
            _random_scale,
            v2.RandomApply([rotation], p=0.5),
            v2.RandomApply([v2.GaussianBlur(5, sigma=1.1)], p=0.5),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(crop, pad_if_needed=True, fill=_FILL),
        ]
    )


def _random_scale(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides times one factor, drawn uniformly from 0.5 … 2."""
    factor = 0.5 + 1.5 * torch.rand(()).item()
    size = [max(1, round(side * factor)) for side in mask.shape]
    return functional.resize(image, size), functional.resize(mask, size)


def segmentation_test(canvas: int, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The whole image and mask, padded at the right and below to `canvas` pixels a side."""
    padding = [0, 0, canvas - mask.shape[1], canvas - mask.shape[0]]
    return (
        functional.pad(image, padding, fill=MEAN_COLOUR),
        functional.pad(mask, padding, fill=IGNORE),
    )


def detection_training(size: int, zoom: float) -> v2.Transform:
    """SSD's augmentation: photometric distortion, zoom out, IoU crop, flip; then `size` × `size`.

    Half the images are put on a canvas of up to `zoom` times their sides, in SSD 4.
    Section 2.2 of https://arxiv.org/abs/1512.02325. An object whose centre a crop leaves out is
    dropped with its label.
    """
    return v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill={tv_tensors.Image: MEAN_COLOUR}, side_range=(1.0, zoom), p=0.5),
            v2.RandomIoUCrop(),
            v2.SanitizeBoundingBoxes(labels_getter=_labels),
            v2.RandomHorizontalFlip(0.5),
            v2.Resize((size, size)),
        ]
    )


def _labels(sample: tuple[Any, dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """What goes with the boxes, for SanitizeBoundingBoxes."""
    return sample[1]["labels"], sample[1]["difficult"]


def shrink(sample: Any, size: tuple[int, int], max_side: int | None) -> Any:
    """A sample of `size` (width, height) with its longer side at most `max_side` pixels."""
    if max_side is None or max(size) <= max_side:
        return sample
    factor = max_side / max(size)
    width, height = (max(1, round(side * factor)) for side in size)
    return v2.Resize((height, width))(sample)
