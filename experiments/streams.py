"""Random streams: each a pure function of the run's seed, its name, and an epoch or step.

Streams: init, order, augmentation, labels, gradient_noise, gradient_dropout, dropout, mask. Turning
one on or off changes no other, so that runs with and without learning rate dropout are paired at
one seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, name: str, *counters: int) -> int:
    """The 63-bit seed of a stream; ValueError for a negative `seed`."""
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    text = "/".join(map(str, (seed, name, *counters)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, name: str, *counters: int) -> torch.Generator:
    """A CPU generator at the start of a stream."""
    return torch.Generator().manual_seed(derive(seed, name, *counters))


@contextmanager
def forked(seed: int, name: str, *counters: int) -> Iterator[None]:
    """Run code on the CPU that only knows torch's global generator on a stream, and restore it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, name, *counters))
        yield
