"""The arithmetic of a run: what `precision` and `deterministic` mean, set and put back.

fp32  IEEE's single precision everywhere: no TF32, which cuDNN's convolutions take unasked
tf32  matrix products and convolutions of single precision with 10 bits of mantissa, on GPUs
bf16  autocast to bfloat16 where torch's rules allow it; the rest as fp32
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from experiments.configuration import Config

PRECISIONS = ("fp32", "tf32", "bf16")
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # read when a process first uses cuBLAS
_SINGLE = {
    "matmul": torch.backends.cuda.matmul,
    "convolution": torch.backends.cudnn.conv,
    "recurrent": torch.backends.cudnn.rnn,
}


@contextmanager
def arithmetic(config: Config) -> Iterator[None]:
    """Compute as a configuration says, and as before again afterwards.

    With `deterministic`, an operation that has no such form is torch's RuntimeError.
    """
    cudnn, before = torch.backends.cudnn, flags()
    single = "tf32" if config["precision"] == "tf32" else "ieee"
    _set(dict.fromkeys(_SINGLE, single))
    changed = config["deterministic"]
    if changed:
        old = cudnn.deterministic, cudnn.benchmark, os.environ.get(_WORKSPACE)
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        cudnn.deterministic, cudnn.benchmark = True, False
        os.environ[_WORKSPACE] = ":4096:8"
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        _set(before)
        if changed:
            torch.use_deterministic_algorithms(before["deterministic"], warn_only=warns)
            cudnn.deterministic, cudnn.benchmark, workspace = old
            os.environ.pop(_WORKSPACE)
            if workspace is not None:
                os.environ[_WORKSPACE] = workspace


def _set(single: dict[str, Any]) -> None:
    for name, backend in _SINGLE.items():
        backend.fp32_precision = single[name]


def flags() -> dict[str, Any]:
    """The switches of torch on which a GPU's last bits, and the arithmetic of all, depend."""
    return {
        **{name: backend.fp32_precision for name, backend in _SINGLE.items()},
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """bfloat16 where torch's rules allow it, with precision=bf16."""
    enabled = config["precision"] == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
