"""The progress bars of the libraries that download and upload: one switch for all of them."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_SWITCHES = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
_MODULES = ("huggingface_hub.utils", "datasets.utils")
_lock = Lock()
_hushed: dict[str, int] = {}  # how many blocks keep the bars of a library back; it has one switch for the process


def silence() -> None:
    """No bars of these libraries in this process, nor in those that it starts."""
    os.environ.update(dict.fromkeys(_SWITCHES, "1"))
    for library in filter(None, map(sys.modules.get, _MODULES)):
        _switch(library, "disable_progress_bars")


@contextmanager
def bars(wanted: bool) -> Iterator[None]:
    """Inside, libraries that are loaded show their bars only if they are `wanted` and somebody sees them."""
    if wanted and _is_watched():
        yield
        return
    hushed = []
    with _lock:
        for name, library in [(name, sys.modules[name]) for name in _MODULES if name in sys.modules]:
            if _hushed.get(name) or not library.are_progress_bars_disabled():
                _hushed[name] = _hushed.get(name, 0) + 1
                _switch(library, "disable_progress_bars")
                hushed.append(name)
    try:
        yield
    finally:
        with _lock:
            for name in hushed:
                _hushed[name] -= 1
                if not _hushed[name]:
                    _switch(sys.modules[name], "enable_progress_bars")


def _switch(library: Any, how: str) -> None:
    with warnings.catch_warnings():  # of a variable in the environment that has the last word
        warnings.simplefilter("ignore")
        getattr(library, how)()


def _is_watched() -> bool:
    # Notebooks show bars, but their standard error is no terminal.
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
