"""Shared by all tests: one thread, real MNIST where there is some, and short runs."""

import os
from pathlib import Path

import pytest
import torch

from commands import configure
from experiments import run as runner
from experiments.naming import run_folder

torch.set_num_threads(1)


@pytest.fixture
def mnist_root() -> str:
    """The folder that holds MNIST/raw; skips where LRD_DATA names none."""
    root = os.environ.get("LRD_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("LRD_DATA names no folder with MNIST/raw")
    return root


@pytest.fixture
def cifar_root() -> str:
    """The folder that holds both CIFARs; skips where LRD_DATA names none."""
    root = os.environ.get("LRD_DATA")
    if not root or not all((Path(root) / name).is_dir() for name in ("cifar10", "cifar100")):
        pytest.skip("LRD_DATA names no folder with cifar10 and cifar100")
    return root


@pytest.fixture
def make(tmp_path):
    """Run a smoke-scale configuration of digits in this process; returns its folder."""

    def run(*overrides, where=tmp_path):
        config = configure(*overrides, runs_dir=where)
        status = runner.run(config)
        return status, run_folder(config)

    return run
