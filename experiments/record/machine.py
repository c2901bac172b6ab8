"""The machine and the versions that a run's last bits may depend on."""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from experiments import mkl, processes
from experiments.precision import flags

_DRIVER = Path("/sys/module/nvidia/version")
_CODE = ("conf", "data", "experiments", "lrd", "models")  # what runs are made by


def environment(device: torch.device) -> dict[str, Any]:
    """The machine and the versions that a run's last bits may depend on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu": cpu_model() + mkl.kernels(),
        **({"gpu": _gpu(device)} if device.type == "cuda" else {}),
        "processes": processes.size(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _gpu(device: torch.device) -> dict[str, Any]:
    """What a GPU's numbers depend on besides its model, with the switches of its arithmetic."""
    return {
        "capability": "{}.{}".format(*torch.cuda.get_device_capability(device)),
        "driver": _DRIVER.read_text().strip() if _DRIVER.exists() else "unknown",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **flags(),
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not a Linux machine
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def _commit() -> str | None:
    """The repository's commit, with "+changes" if the code differs; None outside git."""
    here = Path(__file__).parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *_CODE)
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
