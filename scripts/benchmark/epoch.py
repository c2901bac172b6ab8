"""Benchmarks of what is around the optimizer's step: an MNIST epoch, a step of ResNet-34."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from data.mnist import MEAN, STD, scaled
from models.fcnet import fcnet
from models.resnet import resnet34
from scripts.benchmark.measure import BATCH, Result, compare, measure, race, timed
from scripts.benchmark.step import bernoulli, plain_adam

MASKED = ("lrd.enabled=true", "lrd.compile=true")


def epochs(root: str, threads: int, rounds: int) -> Iterator[Result]:
    """An MNIST epoch of the runner against a bare loop and the usual one."""
    train = MNIST(root)
    bare = bare_epoch(scaled(train.data), train.targets)
    bare()
    runner_epoch(root, threads, *MASKED)  # builds the kernel once, which stays on disk
    seconds = measure(
        {
            "runner": lambda: runner_epoch(root, threads),
            "LRD": lambda: runner_epoch(root, threads, *MASKED),
            "bare": timed(bare),
            "usual": timed(usual_epoch(root, masked=False)),
            "plain": timed(usual_epoch(root, masked=True)),
        },
        rounds,
    )
    ours, masked, name = seconds["runner"], seconds["LRD"], "MNIST epoch, Adam"
    loader = "DataLoader, 2 workers, ToTensor and Normalize"
    for label, against, goal, times, note in (
        (f"{name}, runner: with LRD", "without", 1.01, (masked, ours), ""),
        (f"{name}+LRD: runner", "DataLoader loop with torch.bernoulli masks", 0.2,
         (masked, seconds["plain"]), loader),
        (f"{name}: runner", "bare loop", 1.15, (ours, seconds["bare"]), ""),
        (f"{name}: runner", "DataLoader loop", 0.4, (ours, seconds["usual"]), loader),
    ):  # fmt: skip
        yield compare("epoch", label, against, *times, goal=goal, note=note)


def runner_epoch(root: str, threads: int, *overrides: str) -> float:
    """Seconds that the runner's record gives for an epoch, in a process of its own: the median of
    the second to the fourth."""
    with run_of_mnist(root, threads, 4, *overrides) as folder:
        return float(pd.read_csv(folder / "timing.csv")["seconds"][1:].median())


@contextlib.contextmanager
def run_of_mnist(root: str, threads: int, epochs: int, *overrides: str) -> Iterator[Path]:
    """The folder of a run that is made for this and then deleted."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "experiments.run", "experiment=mnist", f"epochs={epochs}",
            f"threads={threads}", f"data.root={root}", f"runs_dir={folder}", *overrides,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        (record,) = Path(folder).rglob("run.json")
        yield record.parent


def checkpoints(root: str, threads: int) -> Result:
    """The share of a run's training time that its checkpoints take, at the default interval."""
    with run_of_mnist(root, threads, 20) as folder:
        info = json.loads((folder / "run.json").read_text())
    share = info["checkpoint_seconds"] / info["seconds"]
    note = f"{info['checkpoint_seconds']} s of {info['seconds']} s, 20 epochs"
    what = "MNIST run at paper scale, Adam: time of checkpoints / of training"
    return Result("epoch", what, value=share, goal=0.01, note=note)


def bare_epoch(images: Tensor, labels: Tensor) -> Callable[[], None]:
    """The shortest loop there is over tensors in memory, with torch's fused Adam."""
    model = fcnet()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def epoch() -> None:
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()

    return epoch


def usual_epoch(root: str, masked: bool) -> Callable[[], None]:
    """What most scripts do: DataLoader, transforms for each sample, torch's default Adam.

    `masked`: with the plain implementation of LRD.
    """
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    loader = DataLoader(MNIST(root, transform=transform), BATCH, shuffle=True, num_workers=2)
    model = fcnet()
    optimizer = torch.optim.Adam(model.parameters())
    step = plain_adam(list(model.parameters()), bernoulli) if masked else optimizer.step

    def epoch() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            step()

    return epoch


def resnet_steps(rounds: int) -> Iterator[Result]:
    """A training step of ResNet-34 at full width: bfloat16 and channels-last against float32."""
    timers = {"bf16": timed(_resnet_step(True)), "fp32": timed(_resnet_step(False))}
    seconds = race(timers, rounds)
    name = f"ResNet-34 CIFAR step, batch {BATCH}: bf16 and channels-last"
    note = "forward, backward and fused Adam; the net is not compiled"
    yield compare("epoch", name, "fp32", seconds["bf16"], seconds["fp32"], goal=0.45, note=note)


def _resnet_step(fast: bool) -> Callable[[], None]:
    """As the runner does it with precision=bf16 and channels_last=true, or with its defaults."""
    model = resnet34()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    layout = torch.channels_last if fast else torch.contiguous_format
    images = torch.randn(BATCH, 3, 32, 32)
    labels = torch.randint(10, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = cross_entropy(model(images.contiguous(memory_format=layout)), labels)
        loss.backward()
        optimizer.step()

    return step
