"""How processes that draw the same set share the work: each holds a lock on what it is drawing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from var.locks import LOCK, fcntl, locked, open_lock


class Claims:
    """Locks on stretches of a work list, held by this process and let go by the system however it ends.

    They are byte ranges of the lock file in `folder`, on which processes of one machine, and through NFS of several,
    agree. Where there are no such locks every claim succeeds: images may then be drawn twice, but never wrongly.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._file = open_lock(folder)

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        if self.alone():
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    @contextmanager
    def hold(self, start: int, length: int, *, wait: bool) -> Iterator[bool]:
        """Whether the stretch is this process's inside the block; with `wait` it becomes so, sooner or later."""
        held = self._lock(start, length, wait=wait)
        try:
            yield held is not False
        finally:
            if held and fcntl is not None:
                fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)

    def alone(self) -> bool:
        """Whether no other process holds anything; from then on none can."""
        return self._lock(0, 0, wait=False) is True  # length 0: up to the end, wherever that will be

    def _lock(self, start: int, length: int, *, wait: bool) -> bool | None:
        """Whether the lock was had; None where there are none."""
        if fcntl is None:
            return None
        return locked(lambda: fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), length, start))
