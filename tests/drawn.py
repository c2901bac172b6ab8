"""Devkits of drawn shapes for tests, and what reads them."""

from pathlib import Path

import torch

from data.devkit import write_devkit
from data.voc import voc_detection, voc_segmentation

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
