"""Random crop and flip of a whole batch on its device.

The distribution is that of torchvision's RandomCrop(size, padding) and RandomHorizontalFlip. What
happens to a sample depends on its row in a table that is drawn once an epoch, and so on nothing
but the stream and the sample's index.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def draw_crops(count: int, padding: int, generator: torch.Generator) -> Tensor:
    """Rows (y, x, flip) for `count` samples: offsets in 0 … 2 × padding, and 0 or 1; int64."""
    offsets = torch.randint(2 * padding + 1, (count, 2), generator=generator)
    return torch.cat([offsets, torch.randint(2, (count, 1), generator=generator)], dim=1)


def crop_and_flip(images: Tensor, padding: int, crops: Tensor) -> Tensor:
    """Images (N, C, H, W) of any dtype, zero-padded, cut back at the offsets of `crops` (N, 3),
    and mirrored left to right where its last column is 1."""
    height, width = images.shape[2:]
    windows = pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    y, x, flip = crops.unbind(1)
    cut = windows[torch.arange(len(images), device=images.device), :, y, x]
    return torch.where(flip.bool()[:, None, None, None], cut.flip(-1), cut)
