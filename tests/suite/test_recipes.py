"""Each recipe of conf/README.md, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.commands import ROOT

TEXT = (ROOT / "conf" / "README.md").read_text()
SECTIONS = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
BLOCK = re.compile(r"(?:^`([^`\n]+)`(, at its end)?:\n\n)?```(\w+)\n(.*?)```", re.M | re.S)


def follow(folder, text):
    """Write a recipe's files and run its commands, in the order in which they stand."""
    output = ""
    for name, at_end, language, block in BLOCK.findall(text):
        if language == "bash":
            output += "".join(command(folder, line) for line in block.splitlines())
            continue
        path = folder / name
        assert path.exists() == bool(at_end), path
        with path.open("a") as file:
            file.write(block)
    return output


def command(folder, line):
    variables = {"LRD_DATA": str(folder / "own-data"), "OMP_NUM_THREADS": "1"}
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env={**os.environ, **variables, "PATH": python, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_idx(path, array):
    head = [
        0,
        0,
        8,
        array.ndim,
        *(byte for size in array.shape for byte in size.to_bytes(4, "big")),
    ]
    path.write_bytes(bytes(head) + array.astype(np.uint8).tobytes())


def write_fashion(root):
    """Sixty-four small pictures in Fashion-MNIST's layout: a bright row for each class."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for kind, count in (("train", 400), ("t10k", 100)):
        labels = np.arange(count) % 10
        images = generator.integers(0, 100, (count, 28, 28))
        images[np.arange(count), 2 * labels] = 255
        write_idx(raw / f"{kind}-images-idx3-ubyte", images)
        write_idx(raw / f"{kind}-labels-idx1-ubyte", labels)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository without runs, in which all recipes have been followed."""
    folder = tmp_path_factory.mktemp("copy")
    rest = shutil.ignore_patterns("__pycache__", "raw")
    for room in ("conf", "data", "experiments", "lrd", "models", "scripts", "results/paper"):
        shutil.copytree(ROOT / room, folder / room, ignore=rest)
    write_fashion(folder / "own-data")
    outputs = {title: follow(folder, text) for title, text in SECTIONS}
    return folder, outputs


def cell(folder, experiment, arm, column="last_mean"):
    table = pd.read_csv(folder / f"results/tables/paper/own-{experiment}.csv").set_index("arm")
    return table.loc[arm, column]


ARMS = {
    "An optimizer": ("digits", ["nadam", "nadam+lrd0.5"]),
    "A data set": ("fashion", ["adam", "adam+lrd0.5"]),
    "A net": ("digits_cnn", ["adam", "adam+lrd0.5"]),
    "A task": ("line", ["sgdm", "sgdm+lrd0.5", "adam", "adam+lrd0.5"]),
    "A method": ("digits", ["sgdm", "sgdm+clamp0.01"]),
    "A schedule": ("line", ["sgdm+schedule.every=2+schedule.name=halving.halving"]),
}


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_what_the_recipes_add_is_shown_judged_and_verified(repository):
    """In one test: of several, each process of the tests would follow the recipes once."""
    for title in ARMS:
        check_runs_a_table_a_figure_and_the_report(repository, title)
    check_verdicts_and_verify(repository)
    check_that_a_third_party_optimizer_is_masked_and_its_base_is_not(repository)


def check_runs_a_table_a_figure_and_the_report(repository, title):
    folder, outputs = repository
    experiment, arms = ARMS[title]
    report = (folder / "results/REPORT.md").read_text()
    for arm in arms:
        runs = folder / "results/runs/paper" / experiment / arm
        assert len(list(runs.glob("seed*/metrics.csv"))) >= 2, arm
        assert arm in report
    assert (folder / f"results/figures/paper/own-{experiment}.png").stat().st_size > 10_000
    assert f"figures/paper/own-{experiment}.png" in report
    assert "wrote" in outputs[title]


def check_verdicts_and_verify(repository):
    folder, outputs = repository
    assert "paper:" in outputs["A claim"]
    assert "LRD improves SGDM's explained variance on a line" in outputs["A claim"]
    assert (
        "LRD improves SGDM's explained variance on a line"
        in (folder / "results/REPORT.md").read_text()
    )
    assert cell(folder, "line", "adam", "n") == 4
    assert "CNN" in (folder / "results/tables/paper/own-digits_cnn.md").read_text()
    assert "FCNet" not in (folder / "results/tables/paper/own-digits_cnn.md").read_text()


def check_that_a_third_party_optimizer_is_masked_and_its_base_is_not(repository):
    folder, _ = repository
    base, masked = (cell(folder, "digits", f"nadam{arm}") for arm in ("", "+lrd0.5"))
    assert base != masked
