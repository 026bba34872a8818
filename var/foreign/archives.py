"""npz archives: shape and type are known before a number is read, what is claimed is compared with what is there."""

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from var.errors import UserError, first_line
from var.files import atomic_file
from var.foreign.regular import open_regular
from var.names import shown

MOST_BYTES = 2**29
"""Of an array that is read whole: a covariance of 8,192 dimensions fits."""

_OLDEST = (1980, 1, 1, 0, 0, 0)  # zip's zero: the same arrays give the same bytes

Header = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of an array."""


def npz_header(path: Path | str, name: str) -> Header | None:
    """Shape and type of the array `name`; None if it is not there; raises `UserError` for no npz."""
    with _opened(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        with _member(archive, name) as file:
            return _header(file, archive, name)[:2]


def npz_array(path: Path | str, name: str, check: Callable[[Header], None] = lambda header: None) -> np.ndarray:
    """The array `name`, read whole once `check` has seen its shape and type.

    Raises `UserError`, besides what `check` raises, if it is not there, larger than `MOST_BYTES`, or cut off.
    """
    with _opened(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise UserError(f"{path} must hold {name!r}, but does not; is it another archive?")
        with _member(archive, name) as file:
            shape, kind, order = _header(file, archive, name)
            check((shape, kind))
            if (size := math.prod(shape) * kind.itemsize) > MOST_BYTES:
                raise ValueError(f"{name} must have at most {MOST_BYTES:,} bytes, got {size:,}")
            return np.frombuffer(_read(file, size, name), dtype=kind).reshape(shape, order=order).copy()


def npz_rows(path: Path | str, name: str, rows: int) -> Iterator[np.ndarray]:
    """The array `name` in runs of `rows` along its first axis; raises `UserError` if the file is cut off."""
    with _opened(path) as archive, _member(archive, name) as file:
        shape, kind, order = _header(file, archive, name)
        if order == "F" or not shape:
            raise ValueError(f"{name} must be an array of rows in C order, got {kind} {shape}")
        size = math.prod(shape[1:]) * kind.itemsize
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            part = np.frombuffer(_read(file, count * size, name), dtype=kind)
            yield part.reshape(count, *shape[1:]).copy()


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz whole or not at all; the same arrays give the same bytes."""
    write_npz_rows(path, {}, arrays)


def write_npz_rows(
    path: Path | str,
    streams: Mapping[str, tuple[tuple[int, ...], Iterable[np.ndarray]]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write an npz whole or not at all: of `streams` (shape, parts of uint8) no more than a part is in memory."""
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, (shape, parts) in streams.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _OLDEST), "w", force_zip64=True) as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for part in parts:
                    file.write(np.ascontiguousarray(part).tobytes())
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _OLDEST), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


@contextmanager
def _opened(path: Path | str) -> Iterator[zipfile.ZipFile]:
    try:
        with open_regular(path, "an npz archive") as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("it holds two members of one name")
            yield archive
    except UserError:
        raise
    except Exception as error:  # zip, zlib, numpy and the disk raise a dozen kinds, an encrypted member a RuntimeError
        reason = shown(first_line(error))
        raise UserError(f"{path} must be a readable npz archive, but: {reason}; make it again") from error


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[Any]:
    with archive.open(f"{name}.npy") as file:
        yield file


def _read(file: Any, size: int, name: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError(f"{name} is cut off")
    return data


def _header(file: Any, archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any], Literal["C", "F"]]:
    """Shape, type and order as the member says, once they are compared with its size."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(file)
    if kind.hasobject or kind.names or not kind.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{name} must be an array of plain values, got {kind} {shape}")
    claimed, found = math.prod(shape) * kind.itemsize, archive.getinfo(f"{name}.npy").file_size - file.tell()
    if claimed != found:
        raise ValueError(f"{name} must have the {claimed:,} bytes of {kind} {shape}, got {found:,}")
    return tuple(map(int, shape)), kind, "F" if fortran and len(shape) > 1 else "C"
