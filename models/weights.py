"""Pretrained weights of encoders: from a file, or from a library's hub."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn


class WeightsError(RuntimeError):
    """Pretrained weights that cannot be had; the message says what to do."""


def load_weights(module: nn.Module, path: str) -> None:
    """Load a state_dict, saved by torch or as .safetensors. WeightsError if it does not fit.

    The layers' `weights_sha256` says what was read.
    """
    try:
        content = Path(path).expanduser().read_bytes()
        if Path(path).suffix == ".safetensors":
            state = load(content)
        else:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        module.load_state_dict(state)
        digest = hashlib.sha256(content).hexdigest()
        for layer in module.modules():  # of which a net may take some
            layer.weights_sha256 = digest
    except OSError as error:
        raise WeightsError(f"model.weights_file={path}: {error.strerror}") from error
    except (RuntimeError, pickle.UnpicklingError, SafetensorError, EOFError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"model.weights_file={path} is not a state_dict of the encoder: {reason}"
        ) from error


@contextmanager
def hub(name: str) -> Iterator[None]:
    """Around a download of a library's; WeightsError with the alternatives if it fails."""
    try:
        yield
    except OSError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"no pretrained weights of {name}: {reason}. Give a file of them with "
            "model.weights_file=…, or train from scratch with model.encoder_weights=null"
        ) from error
