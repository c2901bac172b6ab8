"""Shared by all tests: one thread, and a loud global generator."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def mnist_root() -> str:
    """The folder that holds MNIST/raw; skips where LRD_DATA names none."""
    root = os.environ.get("LRD_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("LRD_DATA names no folder with MNIST/raw")
    return root
