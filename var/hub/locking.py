"""One at a time in a folder: those who give new files their names, and those who read them."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


class FolderLock:
    """A lock on a folder among all processes and threads of a machine, which the system lets go however one ends.

    There is no file to it. Where the system has no such locks it does nothing: a folder that is read while it is
    written may then be refused.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def hold(self, *, shared: bool = False) -> "FolderLock":
        """Wait until the folder is free, or, for a `shared` lock, is not written."""
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
