"""Shared by all tests: one thread, real MNIST where there is some, and short runs."""

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from experiments import run as runner
from experiments import signals
from experiments.identity import run_folder
from experiments.signals import Interrupted
from helpers.commands import configure

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """The longest test first, so that the others' process does not wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_recipes.py")


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
def no_network(monkeypatch):
    """Downloads of data sets fail."""

    def fail(*_, **__):
        raise OSError("no network")

    for name in ("mnist", "cifar", "voc", "sbd"):
        monkeypatch.setattr(f"torchvision.datasets.{name}.download_and_extract_archive", fail)
    monkeypatch.setattr("torchvision.datasets.utils.download_url", fail)


@pytest.fixture
def make(tmp_path):
    """Run a smoke-scale configuration of digits in this process; returns its folder."""

    def run(*overrides, where=tmp_path):
        config = configure(*overrides, runs_dir=where)
        status = runner.run(config)
        return status, run_folder(config)

    return run


@pytest.fixture
def interrupted_at(make, monkeypatch):
    """Run a configuration, with an interruption at the given pause of its process, if any."""

    def run(pause, *overrides, where):
        asked = 0

        def requested(self):
            nonlocal asked
            asked += 1
            if asked == pause:
                self._number = 15
            return self._number != 0

        monkeypatch.setattr(signals.Interruption, "requested", property(requested))
        if pause is None:
            return make(*overrides, where=where)
        with pytest.raises(Interrupted):
            make(*overrides, where=where)
        return None

    return run


def encoded(kind="PNG", size=(32, 32), colour=0):
    content = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(content, kind)
    return content.getvalue()


@pytest.fixture
def cifar_files(tmp_path):
    """Write parquet files of a few images; returns their root."""

    def write(split="train", images=None, labels=(3, 0, 9, 1), column="label", name="cifar10"):
        images = images or [encoded(colour=20 * row) for row in range(len(labels))]
        rows = [{"bytes": image, "path": None} for image in images]
        (tmp_path / name).mkdir(exist_ok=True)
        path = tmp_path / name / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table({"img": rows, column: list(labels)}), path)
        return path

    write()
    write("test")
    write.root = str(tmp_path)
    return write
