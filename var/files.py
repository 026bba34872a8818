"""Files and folders that exist whole or not at all."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from var.errors import UserError
from var.paths import REGULAR, expanded, kind_of_file

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)(-(?P<place>[0-9a-f]{8})-[0-9a-f]{6})?\.(tmp|trash)")
_LONGEST = 180  # bytes of a name in a temporary one, which may have 255
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR}
_FORGOTTEN = 24 * 3600.0
"""Seconds after which what another machine has not touched is taken for a killed process's."""

_umask = Lock()


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """A temporary sibling to write into, which takes the name `path` when the block ends well.

    Whenever the process is killed, `path` is the old file or the new one, never a part. A link is followed, `~` is the
    home folder, missing parents are made, and who may read the file is as for any new file. Raises `UserError` for a
    folder, a device or a pipe, and if the place cannot be written.
    """
    path = expanded(path)
    target = Path(os.path.realpath(path))
    temporary = _sibling(target, "tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if (kind := kind_of_file(target)) not in (None, REGULAR):
            raise UserError(f"the output {path} must be a regular file or new, got {kind}; name another file")
        yield temporary
        _sync(temporary)
        give_usual_mode(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def give_usual_mode(path: Path) -> None:
    """Let those read and write a file who may with any new one: safetensors and mkstemp leave it to its owner alone."""
    path.chmod(0o666 & ~_current_umask())


@contextmanager
def atomic_text(path: Path | str, text: str) -> Iterator[None]:
    """Write `text` as UTF-8 under a temporary name; it takes the name `path` when the block ends well."""
    with atomic_file(path) as temporary:
        # Half a pair in a name of others cannot be said in UTF-8, and must not end work that is done.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        yield


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; raises `UserError` if the place cannot be written."""
    with atomic_text(path, text):
        pass


def write_json(path: Path | str, values: Any) -> None:
    """Write `values` as indented JSON, whole or not at all; raises `UserError` if the place cannot be written."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 after what the file holds; raises `UserError` if the place cannot be written."""
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def open_descriptor(path: Path) -> int:
    """A descriptor to read and write `path`, which is made if it is missing; raises `OSError`."""
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)


def sync_file(path: Path) -> None:
    """Bring what was appended to the disk; raises `UserError` if that fails."""
    try:
        _sync(path)
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def atomic_folder(path: Path | str, *, replace: bool = True) -> Iterator[Path]:
    """A new temporary sibling to fill, which takes the name `path` when the block ends well.

    Whenever the process is killed, `path` is the old folder, none, or the new one, never a part. Without `replace`, one
    that another process has put there meanwhile stays. Raises `UserError` if the place cannot be written.
    """
    path = expanded(path)
    temporary = None
    try:
        try:
            temporary = begin_folder(path)
        except OSError as error:
            raise unwritable(path, error) from error
        yield temporary
        try:
            finish_folder(temporary, path, replace=replace)
        except OSError as error:
            if replace or not path.is_dir():
                raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def begin_folder(path: Path) -> Path:
    """A new, empty sibling of `path`, to be filled; raises `OSError`."""
    temporary = _sibling(path, "tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()
    return temporary


def finish_folder(temporary: Path, path: Path, *, replace: bool = True) -> None:
    """Bring all of `temporary` to the disk and give it the name `path`; raises `OSError`."""
    for inside in temporary.rglob("*"):
        _sync(inside)
    _sync(temporary)
    while True:
        if replace and path.exists():
            with suppress(FileNotFoundError):  # another one removes it too
                remove_folder(path)
        try:
            os.rename(temporary, path)
            break
        except OSError as error:
            # Another one has put its own there meanwhile.
            if not (replace and error.errno in (errno.ENOTEMPTY, errno.EEXIST)):
                raise
    _sync(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder; at no moment does a part of it carry its name. Raises `OSError` if it cannot be renamed."""
    trash = _sibling(path, "trash")
    os.rename(path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Give what is damaged, a file or a folder, the ending `.damaged`, in place of an older one; returns its new path.

    Raises `UserError` if it cannot be renamed.
    """
    target = path.with_name(f"{path.name}.damaged")
    try:
        if target.is_dir() and not target.is_symlink():
            remove_folder(target)
        else:
            target.unlink(missing_ok=True)
        os.rename(path, target)
    except OSError as error:
        raise unwritable(path, error) from error
    return target


def is_unfinished(path: Path) -> bool:
    """Whether `path` is the temporary sibling of what is being written, or what a killed process left so."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path, names: Callable[[str], bool] = lambda _: True, *, alone: bool = False) -> None:
    """Remove what killed processes left half-written or half-removed, if its name, once it has it, fits `names`.

    `alone`: no other process writes into `folder`, so that what bears the number of a running one is swept too. What
    another machine or container has begun is spared until it has not been touched for a day.
    """
    for path in folder.iterdir():
        found = _TEMPORARY.fullmatch(path.name)
        if (
            not found
            or not names(found["name"])
            or not (alone or _is_left(path, int(found["process"]), found["place"]))
        ):
            continue
        with suppress(OSError):  # somebody else sweeps too
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path | str) -> Path:
    """The folder `path`, made if it is missing; raises `UserError` if it is a file or cannot be written."""
    path = expanded(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise unwritable(path, PermissionError("no write permission"))
    return path


def check_output(path: Path | str) -> None:
    """Refuse, before long work and not after it, a file that could not be written; its folder is made if missing."""
    path = expanded(path)
    with suppress(OSError):
        kind = kind_of_file(path)
        if kind == "a folder":
            raise UserError(f"the output must be a file, but {path} is a folder; name a file in it")
        if kind not in (None, REGULAR):
            raise UserError(f"the output {path} must be a regular file or new, got {kind}; name another file")
    make_folder(Path(os.path.realpath(path)).parent)


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for an output `path` that cannot be written."""
    if error.errno in _IN_THE_WAY and (file := next(filter(os.path.isfile, (path, *path.parents)), None)) is not None:
        remedy = "choose another place" + (": name a folder" if file == path else "")
        return UserError(f"the output {path} must be writable, but: {file} is a file; {remedy}")
    reason = error.strerror or str(error)
    remedy = "make room" if error.errno in _FULL else "mend its permissions"
    return UserError(f"the output {path} must be writable, but: {reason}; choose another place or {remedy}")


def _sibling(path: Path, ending: str) -> Path:
    """A name beside `path`, itself maybe temporary, that no other process, thread or machine takes; see `sweep`."""
    found = _TEMPORARY.fullmatch(path.name)
    name = os.fsdecode(os.fsencode(found["name"] if found else path.name)[:_LONGEST])
    return path.with_name(f".{name}.{os.getpid()}-{_machine()}-{secrets.token_hex(3)}.{ending}")


@cache
def _machine() -> str:
    """What tells this machine, or container, from others that write into the same folder: process numbers do not."""
    numbers = ""
    with suppress(OSError):
        numbers = os.readlink("/proc/self/ns/pid")
    return hashlib.blake2b(f"{socket.gethostname()} {numbers}".encode(), digest_size=4).hexdigest()


def _is_left(path: Path, process: int, machine: str | None) -> bool:
    """Whether nobody is at work any more on a temporary file or folder."""
    if machine in (None, _machine()):
        return not _is_running(process)
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > _FORGOTTEN
    return False


def _current_umask() -> int:
    with suppress(OSError, ValueError, StopIteration), open("/proc/self/status", "rb") as status:
        return int(next(line for line in status if line.startswith(b"Umask:"))[6:], 8)
    with _umask:  # it can only be read by setting it
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):  # Windows writes folders without being asked
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_running(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
