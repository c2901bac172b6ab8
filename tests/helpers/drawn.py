"""Devkits of drawn shapes for tests, what reads them, and a net and boxes for detection."""

from pathlib import Path

import torch

from data.devkit import write_devkit
from data.voc import voc_detection, voc_segmentation
from models.ssd import ssd

CPU = torch.device("cpu")
SMALL = {"complete": False, "cache": True}


def devkit(root: Path, images: int = 6, test_images: int = 2) -> Path:
    """Write a devkit; returns its VOC2012 folder."""
    write_devkit(root, images, test_images)
    return root / "VOCdevkit" / "VOC2012"


def segmentation(root: Path, **keys):
    return voc_segmentation(str(root), **{**SMALL, "crop": 64, **keys})


def detection(root: Path, **keys):
    lists = {"train": ["VOC2012/train"], "test": ["VOC2012/val"]}
    return voc_detection(str(root), **{**SMALL, "size": 64, **lists, **keys})


def streams(seed: int = 0):
    """The order and augmentation generators of an epoch."""
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)


def small_net(size=64):
    torch.manual_seed(0)
    return ssd(size=size, width=8, encoder_weights=None)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


TARGETS = [
    {"boxes": boxes([4, 4, 40, 44], [30, 8, 60, 60]), "labels": torch.tensor([3, 7])},
    {"boxes": boxes(), "labels": torch.tensor([], dtype=torch.long)},
    {"boxes": boxes([10, 20, 50, 60]), "labels": torch.tensor([20])},
]
