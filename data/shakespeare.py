"""Tiny Shakespeare by characters: <root>/shakespeare/input.txt, and windows of it.

1,115,394 characters, 65 different, of https://github.com/karpathy/char-rnn. The first 90 % are for
training; of the rest the first half is to choose on (validation), the second to report (test).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data.batches import DataError, Part
from data.files import data_root, download_missing, genuine_bytes

_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_MD5 = "6fb458f1232090904fb40fe944165e91"
_TEST_CHARACTERS = 1 << 16  # of a batch to evaluate


class Text(NamedTuple):
    """Numbers of characters, int64: for training, validation and test; and where they came from.

    A training epoch is `steps` batches of windows that begin anywhere; evaluation goes through
    all windows of the other two that do not overlap. A window is `context` characters.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    provenance: dict[str, Any]
    context: int
    steps: int

    def loaders(self, batch_size: int, device: torch.device) -> tuple[Windows, Tiles]:
        """Training and evaluation batches with all characters on the device."""
        held_out = {"val": self.validation.to(device), "test": self.test.to(device)}
        train = Windows(self.train.to(device), batch_size, self.context, self.steps)
        return train, Tiles(held_out, self.context)


class Windows:
    """Random windows of a text: inputs (N, context) and the characters that follow each."""

    def __init__(self, text: Tensor, batch_size: int, context: int, steps: int) -> None:
        self.text, self.batch_size, self.context, self.steps = text, batch_size, context, steps

    def __len__(self) -> int:
        return self.steps

    def counts(self, start: int = 0) -> list[int]:
        """How many windows an epoch's batches from number `start` on have."""
        return [self.batch_size] * (self.steps - start)

    def epoch(
        self,
        order: torch.Generator,
        augmentation: torch.Generator,
        start: int = 0,
        part: Part | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """From batch `start` on; `order`, a CPU generator, draws where the epoch's windows begin.

        `part` says which of a batch's windows to give, of their number.
        """
        shape = self.steps, self.batch_size
        begins = torch.randint(len(self.text) - self.context, shape, generator=order)
        reach = torch.arange(self.context + 1, device=self.text.device)
        for batch in begins[start:].to(self.text.device):
            batch = batch if part is None else batch[part(len(batch))]
            windows = self.text[batch[:, None] + reach]
            yield windows[:, :-1], windows[:, 1:]


class Tiles:
    """All windows of some texts that do not overlap: a text's name, inputs, what follows each."""

    def __init__(self, texts: dict[str, Tensor], context: int) -> None:
        self.texts, self.context = texts, context

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        size = max(1, _TEST_CHARACTERS // self.context)
        for name, text in self.texts.items():
            whole = (len(text) - 1) // self.context * self.context
            inputs, targets = (
                part.view(-1, self.context) for part in (text[:whole], text[1 : whole + 1])
            )
            for pair in zip(inputs.split(size), targets.split(size), strict=True):
                yield name, *pair


def _download(path: Path) -> None:
    from torchvision.datasets.utils import download_url  # slow to load, and most have the file

    download_url(_URL, str(path.parent), path.name, _MD5)


def shakespeare(root: str, context: int, steps: int, subset: int | None = None) -> Text:
    """The characters by number, in their order; `subset`: of each part no more than so many.

    Read from `root`/shakespeare, downloaded there when absent. Raises DataError when it is missing
    and cannot be downloaded, is another file, or a part is too short for a window.
    """
    folder = data_root(root)
    path = folder / "shakespeare" / "input.txt"
    download_missing(folder, [path], f"Tiny Shakespeare in {path}", lambda: _download(path))
    content = torch.frombuffer(
        bytearray(genuine_bytes(path, "Tiny Shakespeare", _MD5)), dtype=torch.uint8
    )
    numbers = content.unique(return_inverse=True)[1]  # it is ASCII
    begin = len(numbers) * 9 // 10
    middle = (begin + len(numbers)) // 2
    parts = [part[:subset] for part in numbers.tensor_split((begin, middle))]
    if not 0 < context < min(map(len, parts)):
        raise DataError(
            f"data.context must be in 1 … {min(map(len, parts)) - 1}, as the shortest part of the "
            f"text has one character more, got {context}"
        )
    if steps < 1:
        raise DataError(f"data.steps must be at least 1, got {steps}")
    provenance = {"name": "Tiny Shakespeare", "format": "text", "md5": _MD5}
    counts = {"train": len(parts[0]) - context, "test": (len(parts[2]) - 1) // context}
    return Text(*parts, {**provenance, **counts}, context, steps)
