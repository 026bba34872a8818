"""Folders that are saved and read at the same time: one saves after the other, and nobody reads half of each."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from var.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


Result = TypeVar("Result")

TRIES = 3


class FolderLock:
    """A lock on a folder among all processes and threads of a machine, which the system lets go however one ends.

    There is no file to it. Where the system has no such locks it does nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def hold(self, *, shared: bool = False) -> "FolderLock":
        """Wait until the folder is free or, for a `shared` lock, not being given new files."""
        if fcntl is not None:
            with suppress(OSError):
                self._descriptor = os.open(self.folder, os.O_RDONLY)
                fcntl.flock(self._descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        return self

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_whole(key: Path, read: Callable[[], Result]) -> Result:
    """What `read` makes of the folder in which the file `key` lies, all of it of one save.

    A save takes `key` away before it changes anything, and puts it back last: if it is another one afterwards, all is
    read again. A lock would do as well, but those who read all the time would keep those who save waiting.
    """
    for _ in range(TRIES):
        before = _identity(key)
        if before is None:  # there is none, or somebody is about to put it back
            break
        try:
            result = read()
        except UserError:
            if _identity(key) == before:
                raise
        else:
            if _identity(key) == before:
                return result
    with FolderLock(key.parent).hold(shared=True):
        return read()


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None
