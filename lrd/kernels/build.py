"""Builds step.c with the system's C compiler, once for each processor, and loads it.

A library serves one rule and one type of weights, takes a quarter of a second to build, and stays
in the user's cache under a name that hashes all it depends on, and its bytes. It appears there in
one move, so that several processes may build it at once. What others could have put there, or a
full disk has cut short, is not loaded.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

_SOURCE = Path(__file__).with_name("step.c")
_COMPILERS = ("cc", "gcc", "clang")
_ARM = platform.machine() in ("arm64", "aarch64")
# contraction is the one licence that compilers take by themselves which changes results
_FLAGS = (
    *("-O3", "-mcpu=native" if _ARM else "-march=native", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
)
_ADVICE = (
    "Install a C compiler (Debian and Ubuntu: apt install gcc libc6-dev; Fedora: dnf install gcc; "
    "macOS: xcode-select --install) or name yours in CC"
)


class CompilationError(RuntimeError):
    """The kernel of an optimizer's step could not be built, most often for want of a compiler."""

    def __init__(self, cause: str, advice: str = _ADVICE) -> None:
        super().__init__(cause, advice)  # as it is pickled

    def __str__(self) -> str:
        cause, advice = self.args
        return (
            f"lrd's kernel cannot be built: {cause}. {advice}, or pass compile=False for the eager "
            "step"
        )


@functools.cache
def kernel(definitions: tuple[str, ...]) -> Any:
    """The function `step` of step.c, built with these macros; CompilationError if it cannot be."""
    compiler = _compiler()
    target = _run([*compiler, *_FLAGS, "-dM", "-E", "-x", "c", os.devnull])
    depends = "\0".join([_SOURCE.read_text(), *compiler, *_FLAGS, *definitions, target])
    key = hashlib.sha256(depends.encode()).hexdigest()[:32]
    command = [*compiler, *_FLAGS, *(f"-D{name}" for name in definitions), str(_SOURCE), "-lm"]
    try:
        return _load(_folder(), key, command)
    except OSError:  # a home read-only, full, noexec or others' to write: for this process alone
        with tempfile.TemporaryDirectory(prefix="lrd-") as folder:
            try:
                return _load(Path(folder), key, command)
            except OSError as error:
                raise CompilationError(f"{error}") from error


def _load(folder: Path, key: str, command: list[str]) -> Any:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_own(folder)
    library = next(filter(_is_whole, sorted(folder.glob(f"{key}-*.so"))), None)
    if library is None:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built = Path(scratch) / "step.so"
            _run([*command, "-o", str(built)])
            built.chmod(0o700)
            library = folder / f"{key}-{_digest(built)}.so"
            os.replace(built, library)
    _check_own(library)
    function = ctypes.CDLL(str(library)).step
    function.restype = None
    pointer = ctypes.c_void_p
    function.argtypes = [pointer, ctypes.c_int64, pointer, pointer, ctypes.c_int, pointer]
    return function


def _check_own(path: Path) -> None:
    """PermissionError for what is not ours alone to write: its code would run as ours."""
    status = os.lstat(path)
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} can be written to by others")


def _is_whole(library: Path) -> bool:
    return library.stem.endswith(f"-{_digest(library)}")


def _digest(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()[:32]


@functools.cache
def parallel() -> int | None:
    """Address of the GOMP_parallel of the OpenMP that torch has loaded, None without one.

    The kernel starts its threads by it: another OpenMP's would go on spinning beside torch's.
    """
    try:
        function = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None
    return ctypes.cast(function, ctypes.c_void_p).value


def _compiler() -> list[str]:
    if sys.platform not in ("linux", "darwin"):
        raise CompilationError(f"it is built on Linux and macOS, this is {sys.platform}")
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in _COMPILERS:
        if shutil.which(name):
            return [name]
    raise CompilationError(f"none of the compilers {', '.join(_COMPILERS)} is on the PATH")


def _run(command: list[str]) -> str:
    """What a command prints; CompilationError with the compiler's first complaint if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompilationError(f"{command[0]} does not start ({error})") from error
    if done.returncode:
        lines = done.stderr.splitlines() or ["no message"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise CompilationError(f"{command[0]} ended with {done.returncode} ({first.strip()})")
    return done.stdout


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):  # as it stays where nobody has a home
        raise FileNotFoundError(f"no folder for caches: {cache}")
    return Path(cache) / "lrd"
