"""Intel's kernels of MKL on another maker's processor, where LRD_MKL=intel asks for them.

MKL multiplies torch's matrices on x86. On AMD's processors it takes kernels of half the width that
those with AVX-512 have. It asks a function of its own who made the processor; a library loaded
before torch answers in its place. Results differ in their last bits, so that a run's record names
these kernels with the processor.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_VARIABLE = "LRD_MKL"
_SOURCE = "int asked; int mkl_serv_intel_cpu_true(void) { asked = 1; return 1; }"
_CPUINFO = Path("/proc/cpuinfo")

_answer: ctypes.CDLL | None = None


def take_intel_kernels() -> None:
    """Let MKL take Intel's kernels if LRD_MKL=intel and the processor is another maker's.

    Raises SystemExit for another value, a torch that is loaded already and a missing C compiler.
    """
    global _answer
    wanted = os.environ.get(_VARIABLE, "")
    if wanted not in ("", "intel"):
        sys.exit(f"{_VARIABLE}={wanted}: expected intel, or nothing")
    if not wanted or _answer or (_CPUINFO.exists() and "GenuineIntel" in _CPUINFO.read_text()):
        return
    if "torch" in sys.modules:
        sys.exit(f"{_VARIABLE}=intel: torch is loaded already; import experiments before it")
    with tempfile.TemporaryDirectory(prefix="lrd-") as folder:
        library = f"{folder}/answer.so"
        command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-x", "c", "-", "-o", library]
        try:
            subprocess.run(command, input=_SOURCE, text=True, check=True)
            _answer = ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"{_VARIABLE}=intel: {error}; install a C compiler, or leave it out")


def kernels() -> str:
    """What a run's record adds to the processor's name. Raises ConfigError if MKL never asked."""
    if _answer is None:
        return ""
    import torch  # after the answer is there

    from experiments.configuration import ConfigError

    torch.ones(64, 64) @ torch.ones(64, 64)
    if not ctypes.c_int.in_dll(_answer, "asked").value:
        raise ConfigError(f"{_VARIABLE}=intel: this torch multiplies without MKL; leave it out")
    return ", Intel's kernels of MKL"
