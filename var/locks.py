"""Who is at work in a folder: locks of the file `.lock` in it, which the system lets go however their holder ends."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.files import make_folder, open_descriptor, unwritable
from var.names import shown
from var.paths import REGULAR, expanded, kind_of_file

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl: Any = None

LOCK = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_held: set[int] = set()  # descriptors of `sole_owner`


@contextmanager
def sole_owner(folder: Path | str) -> Iterator[None]:
    """Keep `folder`, which is made if it is missing, to the block: no other process or thread is let in meanwhile.

    The lock file tells who holds it, and is removed in the end, with a folder that was made and stayed empty. File
    systems without locks let everybody in. Raises `UserError` if another one is at work there, which it names, and if
    the folder cannot be written.
    """
    path = expanded(folder)
    new = [each for each in (path, *path.parents) if not each.exists()]
    make_folder(path)
    file = _owned(path)
    _held.add(file)
    try:
        yield
    finally:
        with suppress(OSError):
            (path / LOCK).unlink()
        _held.discard(file)
        os.close(file)
        with suppress(OSError):  # only what is empty
            for each in new:
                each.rmdir()


def open_lock(folder: Path) -> int:
    """A descriptor of the lock file in `folder`; raises `UserError` if there can be none."""
    path = folder / LOCK
    try:
        if (kind := kind_of_file(path)) not in (None, REGULAR):
            raise UserError(f"{path} must be a regular file, got {kind}; remove it")
        return open_descriptor(path)
    except OSError as error:
        raise unwritable(path, error) from error


def locked(lock: Callable[[], object]) -> bool | None:
    """Whether `lock`, a call of `fcntl`, got its lock; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        lock()
    except OSError as error:
        return None if error.errno in _UNSUPPORTED else False
    return True


def _owned(folder: Path) -> int:
    while True:
        file = open_lock(folder)
        try:
            # A lock of an open file and not of a process: threads exclude each other too.
            got = locked(lambda file=file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB))
            if got is False:
                raise UserError(f"{_holder(file)} is at work in {folder}; wait for its end, or choose another output")
            if got is None or _is_still_there(file, folder / LOCK):
                with suppress(OSError):  # a full disk is no reason not to have it
                    os.truncate(file, 0)
                    os.pwrite(file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the one before removed it when it ended


def _is_still_there(file: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _holder(file: int) -> str:
    """Who holds the lock, as its file tells."""
    words = os.pread(file, 300, 0).decode(errors="replace").split()
    if len(words) != 2 or not words[0].isdecimal():
        return "another process"
    own = int(words[0]) == os.getpid() and words[1] == socket.gethostname()
    return "another one in this process" if own else f"process {words[0]} on {shown(words[1])}"


def _forget() -> None:
    """Let go in a child what its parent holds: a child may live longer."""
    for file in _held:
        with suppress(OSError):
            os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
