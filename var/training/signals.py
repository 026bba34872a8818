"""Requests from outside to stop: SIGTERM and SIGUSR1, as schedulers send them before they take a machine away."""

import os
import signal
import threading
from types import FrameType
from typing import Any

_NAMES = ("SIGTERM", "SIGUSR1")  # the second is missing on Windows


class StoppedError(Exception):
    """A signal asked to stop where there is nothing to save."""


class StopSignals:
    """Inside the block, a signal is only remembered; a second one ends the process at once, as it would have before.

    With `raising`, the first one raises `StoppedError`. Handlers are put back at the end. Outside the main thread,
    where Python allows none, signals keep their effect.
    """

    def __init__(self, *, raising: bool = False) -> None:
        self._raising = raising
        self._received = False
        self._previous: dict[int, Any] = {}

    def requested(self) -> bool:
        """Whether a signal came."""
        return self._received

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._raising:
            raise StoppedError
        if self._received:
            self._restore()
            os.kill(os.getpid(), number)
        self._received = True

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python, which cannot be put back.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()
