"""ADM's npz files of images, read and written row by row: 50,000 images of 256 pixels would take 10 GB of memory."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from var.errors import UserError
from var.files import atomic_file

_OLDEST = (1980, 1, 1, 0, 0, 0)  # zip's zero: the same arrays give the same bytes


def array_shape(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and type of the array `name` in an npz; None if it is not there; raises `UserError` for no npz."""
    with _archive(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        with archive.open(f"{name}.npy") as file:
            return _header(file, path)


def array_rows(path: Path, name: str, rows: int) -> Iterator[np.ndarray]:
    """The array `name` in runs of `rows` along its first axis; raises `UserError` if the file is cut off."""
    with _archive(path) as archive, archive.open(f"{name}.npy") as file:
        shape, kind = _header(file, path)
        size = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            data = file.read(count * size)
            if len(data) < count * size:
                raise UserError(f"{path} must hold {shape[0]} rows of {name}, but it is cut off; make it again")
            yield np.frombuffer(data, dtype=kind).reshape(count, *shape[1:]).copy()


def write_images(
    path: Path | str,
    batches: Iterable[UInt8[np.ndarray, "_batch _h _w _c"]],
    shape: tuple[int, int, int, int],
    others: dict[str, np.ndarray],
) -> None:
    """Write `arr_0` (uint8 NHWC of `shape`) from batches, and `others` beside it, whole or not at all."""
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(zipfile.ZipInfo("arr_0.npy", _OLDEST), "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for batch in batches:
                file.write(np.ascontiguousarray(batch).tobytes())
        for name, array in others.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _OLDEST), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _header(file: Any, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(file)
    if (fortran and len(shape) > 1) or kind.hasobject:
        raise UserError(f"{path} must hold plain arrays in C order, got {kind} {shape}; save them with numpy.savez")
    return shape, kind


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} must be a readable npz archive, but: {error}; make it again") from error
