"""Files that exist whole or not at all."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from var.errors import UserError

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.tmp")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """A temporary sibling to write into, which takes the name `path`, with mode 0644, when the block ends well.

    Whenever the process is killed, `path` is the old file or the new one, never a part. Missing parents are made.
    Raises `UserError` if the place cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def is_unfinished(path: Path) -> bool:
    """Whether `path` is the temporary sibling of a file that is being written, or that a killed process left so."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path, names: Callable[[str], bool] = lambda _: True) -> None:
    """Remove what killed processes left half-written in `folder`: files whose names, had they got them, fit `names`."""
    for path in folder.iterdir():
        found = _TEMPORARY.fullmatch(path.name)
        if found and names(found["name"]) and not _is_running(int(found["process"])):
            path.unlink(missing_ok=True)


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


def _is_running(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
