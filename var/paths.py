"""Paths as users write them, and what lies there."""

import os
import stat
from pathlib import Path

from var.errors import UserError
from var.names import received

REGULAR = "a regular file"

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def expanded(path: Path | str) -> Path:
    """The path with `~` as the home folder; raises `UserError` for what can be no path."""
    try:
        text = os.fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise ValueError
        return Path(text).expanduser()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"a path must be a text such as 'runs/one', got {received(path)}; correct it") from error


def kind_of_file(path: Path) -> str | None:
    """What `path`, or where it leads to, is: "a regular file", "a folder", ...; None if there is nothing.

    Raises `OSError` where it cannot be told.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    return next((name for test, name in _KINDS if test(mode)), REGULAR)
