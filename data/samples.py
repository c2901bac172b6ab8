"""Batches of samples that are read and transformed one by one, here or in worker processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from data.batches import Part, batch_counts

Sample = tuple[Any, ...]


class SampleBatches:
    """Batches on a device; the last one of an epoch may be smaller.

    A sample's random transform runs on a seed of its own, so that it is the same for any number
    of `workers` (0: in this process) and leaves the global generator alone.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Callable[..., Sample],
        collate: Callable[[list[Sample]], Sample],
        to_device: Callable[[Sample, torch.device], Sample],
        batch_size: int,
        device: torch.device,
        workers: int = 0,
    ) -> None:
        self._samples, self._to_device = samples, to_device
        self._batch_size, self._device = batch_size, device
        self._batches = _Batches()
        self._loader = DataLoader(
            _Seeded(samples, transform),
            batch_sampler=self._batches,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            worker_init_fn=_leave_requeueing,
            generator=torch.Generator(),  # or it would draw its workers' seeds from the global one
        )

    def __len__(self) -> int:
        return -(-len(self._samples) // self._batch_size)

    def counts(self, start: int = 0) -> list[int]:
        """How many samples an epoch's batches from number `start` on have."""
        return batch_counts(len(self._samples), self._batch_size, start)

    def __iter__(self) -> Iterator[Sample]:
        """In the order of the data set."""
        return self._load([(index, index) for index in range(len(self._samples))], 0)

    def epoch(
        self,
        order: torch.Generator,
        augmentation: torch.Generator,
        start: int = 0,
        *,
        part: Part | None = None,
    ) -> Iterator[Sample]:
        """In an order and with transforms drawn from CPU generators, from batch `start` on.

        `part` says which of a batch's samples to give, of their number.
        """
        count = len(self._samples)
        indices = torch.randperm(count, generator=order).tolist()
        seeds = torch.randint(2**63 - 1, (count,), generator=augmentation).tolist()
        return self._load([(index, seeds[index]) for index in indices], start, part)

    def _load(
        self, keys: list[tuple[int, int]], start: int, part: Part | None = None
    ) -> Iterator[Sample]:
        size = self._batch_size
        batches = [keys[first : first + size] for first in range(start * size, len(keys), size)]
        if part is not None:
            batches = [batch[part(len(batch))] for batch in batches]
        self._batches.of_next = batches
        for batch in self._loader:
            yield self._to_device(batch, self._device)


def _leave_requeueing(_: int) -> None:
    """By Slurm's warning before its time limit, submitit has a process requeue its job: the run's,
    not the workers that it has forked."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


class _Batches:
    """A batch sampler that is told each pass's keys; a pass that has begun keeps its own."""

    of_next: Sequence[list[tuple[int, int]]] = ()

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.of_next)


@dataclass
class _Seeded(Dataset[Sample]):
    """Transformed samples by (index, seed)."""

    samples: Sequence[Sample]
    transform: Callable[..., Sample]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, seed = key
        # Transforms run on the CPU and know its global generator alone; torch.manual_seed would
        # seed the devices' too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.transform(*self.samples[index])
