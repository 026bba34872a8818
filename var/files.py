"""Files and folders that exist whole or not at all."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from var.errors import UserError

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(tmp|trash)")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """A temporary sibling to write into, which takes the name `path`, with mode 0644, when the block ends well.

    Whenever the process is killed, `path` is the old file or the new one, never a part. Missing parents are made.
    Raises `UserError` if the place cannot be written.
    """
    path = Path(path)
    temporary = _sibling(path, "tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        # mkstemp and safetensors leave 0600, which breaks shared folders.
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; raises `UserError` if the place cannot be written."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, values: Any) -> None:
    """Write `values` as indented JSON, whole or not at all; raises `UserError` if the place cannot be written."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(path: Path | str, *, replace: bool = True) -> Iterator[Path]:
    """A new temporary sibling to fill, which takes the name `path` when the block ends well.

    Whenever the process is killed, `path` is the old folder, none, or the new one, never a part. Without `replace`, one
    that another process has put there meanwhile stays. Raises `UserError` if the place cannot be written.
    """
    path = Path(path)
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
        shutil.rmtree(_sibling(path, "tmp"), ignore_errors=True)


def begin_folder(path: Path) -> Path:
    """A new, empty sibling of `path`, to be filled; raises `OSError`."""
    temporary = _sibling(path, "tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    if temporary.exists():  # of a killed process that had the number of this one
        shutil.rmtree(temporary)
    temporary.mkdir()
    return temporary


def finish_folder(temporary: Path, path: Path, *, replace: bool = True) -> None:
    """Bring all of `temporary` to the disk and give it the name `path`; raises `OSError`."""
    for inside in temporary.rglob("*"):
        _sync(inside)
    _sync(temporary)
    if replace and path.exists():
        remove_folder(path)
    os.rename(temporary, path)
    _sync(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder; at no moment does a part of it carry its name. Raises `OSError` if it cannot be renamed."""
    trash = _sibling(path, "trash")
    if trash.exists():
        shutil.rmtree(trash)
    os.rename(path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Whether `path` is the temporary sibling of what is being written, or what a killed process left so."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path, names: Callable[[str], bool] = lambda _: True, *, alone: bool = False) -> None:
    """Remove what killed processes left half-written or half-removed, if its name, once it has it, fits `names`.

    `alone`: no other process writes into `folder`, so that what bears the number of a running one is swept too.
    """
    for path in folder.iterdir():
        found = _TEMPORARY.fullmatch(path.name)
        if not found or not names(found["name"]) or (_is_running(int(found["process"])) and not alone):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path | str) -> Path:
    """The folder `path`, made if it is missing; raises `UserError` if it is a file or cannot be written."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise unwritable(path, PermissionError("no write permission"))
    return path


def check_output(path: Path | str) -> None:
    """Refuse, before long work and not after it, a file that could not be written; its folder is made if missing."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"the output must be a file, but {path} is a folder; name a file in it")
    make_folder(path.parent)


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for an output `path` that cannot be written."""
    reason = error.strerror or str(error)
    return UserError(f"the output {path} must be writable, but: {reason}; choose another place or mend its permissions")


def _sibling(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


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
