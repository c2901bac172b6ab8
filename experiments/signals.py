"""SIGINT (Ctrl-C) and SIGTERM as a request that a run answers between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run was asked to end; `signal` says by which signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.signal = number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.signal,)


def raise_interrupted(number: int, _: FrameType | None) -> None:
    """A signal handler for code that need not end at a step."""
    raise Interrupted(number)


class Interruption:
    """Keeps the signal of a request; a context manager.

    After the first signal the old handlers are back, so that a second one ends the process at
    once. Outside the main thread, where Python handles no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self._number = 0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore()
        if kind is None or issubclass(kind, Exception):
            self.check()  # heard after the last step, or what it has broken

    def _note(self, number: int, _: FrameType | None) -> None:
        self._number = number
        self._restore()
        # to a group of processes it ends a loader's workers too, for which torch's handler raises
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _restore(self) -> None:
        while self._old:
            signal.signal(*self._old.popitem())

    @property
    def requested(self) -> bool:
        return self._number != 0

    def agree(self, alone: bool = False) -> None:
        """Hear of requests to other processes; not if this one is `alone` at work."""

    def check(self) -> None:
        """Raise Interrupted if there was a request."""
        if self._number:
            raise Interrupted(self._number)
