"""Files as they lie on the disk: only regular ones are opened, and no more of them is read than is allowed."""

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from var.errors import UserError
from var.names import shown
from var.paths import REGULAR, expanded, kind_of_file

MOST_TEXT = 2**28
"""Bytes of a text that is read whole: the listing of ten million images fits."""


class MissingError(UserError):
    """There is no file of that name."""


class LongError(UserError):
    """A file has more bytes than may be read of it."""


def open_regular(path: Path | str, what: str = "a file") -> BinaryIO:
    """The file at `path`, open for reading bytes; `what` says in messages what it should be.

    Raises `UserError` for a folder, a device, a pipe (without waiting for its other end) and a file that may not be
    read, and `MissingError` where there is none.
    """
    path = expanded(path)
    try:
        _check_regular(path, kind_of_file(path), what)
        # Should the file be exchanged meanwhile, a pipe must not make us wait.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = io.FileIO(descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise UserError(f"{path} must be a regular file, but it was exchanged; try again")
        return io.BufferedReader(file)
    except FileNotFoundError as error:
        raise _missing(path, what) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} must be readable, but: {reason}; mend its permissions or its place") from error


def read_bytes(path: Path | str, *, most: int = MOST_TEXT, what: str = "a file") -> bytes:
    """The whole file; raises `UserError` as `open_regular` does, and for more than `most` bytes."""
    with open_regular(path, what) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise UserError(f"{path} must be readable, but: {error.strerror}; look at the disk") from error
    if len(content) > most:
        raise LongError(f"{shown(path)} must have at most {most:,} bytes, got more; is it {what}?")
    return content


def read_text(path: Path | str, *, most: int = MOST_TEXT, what: str = "a text file") -> str:
    """The whole file as UTF-8, without the byte-order mark that some editors put first; errors as for `read_bytes`."""
    try:
        return read_bytes(path, most=most, what=what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} must be UTF-8, got byte {error.object[error.start]:#04x} at {error.start}; save it as UTF-8"
        ) from error


def _check_regular(path: Path, kind: str | None, what: str) -> None:
    if kind is None:
        raise _missing(path, what)
    if kind != REGULAR:
        raise UserError(f"{path} must be a regular file, got {kind}; give {what}")


def _missing(path: Path, what: str) -> MissingError:
    broken = ", but its link leads nowhere" if path.is_symlink() else ", but it is missing"
    return MissingError(f"{path} must be {what}{broken}; check the path")
