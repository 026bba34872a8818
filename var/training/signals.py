"""Requests from outside to stop: SIGTERM and SIGUSR1, as schedulers send them before they take a machine away."""

import atexit
import os
import signal
import threading
from types import FrameType
from typing import Any

_NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]  # no second on Windows


class StoppedError(Exception):
    """A signal asked to stop where there is nothing to save."""


class StopSignals:
    """Inside the block, a signal is only remembered; a second one ends the process at once, as it would have before.

    With `raising`, the first one raises `StoppedError`, until `remember` is called. A block inside another one that
    remembers shares its memory. Handlers are put back at the end. Outside the main thread, where Python allows none,
    signals keep their effect.
    """

    def __init__(self, *, raising: bool = False) -> None:
        self._raising = raising
        self._received = False
        self._previous: dict[int, Any] = {}
        self._outer: StopSignals | None = None

    def requested(self) -> bool:
        """Whether a signal came."""
        return self._received or (self._outer is not None and self._outer.requested())

    def remember(self) -> None:
        """Raise nothing from now on: there is something to save."""
        self._raising = False

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        outer = getattr(signal.getsignal(_NUMBERS[0]), "__self__", None)
        if isinstance(outer, StopSignals) and not outer._raising and not self._raising:
            self._outer = outer
            return self
        for number in _NUMBERS:
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


def end_in_peace() -> None:
    """Let this process, whose work is done and saved, end well though a signal comes while it ends."""
    atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in _NUMBERS])
