"""Which kind of file a file of weights is, found by a look at its bytes; no torch is needed and no code is run."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from safetensors import safe_open

from var.errors import UserError, first_line
from var.foreign.regular import open_regular

LFS_POINTER = b"version https://git-lfs"
PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
PICKLE = b"\x80"
ZIP = b"PK\x03\x04"
LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file
PICKLE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
WEIGHTS_ENDINGS = (".safetensors", *PICKLE_ENDINGS)


def check_file(path: Path) -> None:
    """Raise `UserError` unless a file of weights is whole, as far as its outside shows.

    Of a file with another ending, only that it is no web page, no Git-LFS pointer, and not empty.
    """
    if path.suffix in WEIGHTS_ENDINGS:
        check_weights(path)
    else:
        _start_of(path)


def check_weights(path: Path) -> str:
    """The `file_kind` of a file of weights, which is whole as far as its outside shows; raises `UserError`."""
    kind = file_kind(path)
    if path.suffix == ".safetensors" and kind != "safetensors":
        raise UserError(f"{path} must be a safetensors file, but: got a pickle, which could run code; convert it")
    if kind == "safetensors":
        try:
            with safe_open(path, framework="numpy"):
                pass
        except Exception as error:
            raise damaged(path, error) from error
    elif kind == "zip":
        _check_zip(path)
    return kind


def pickles_in(names: Iterable[str]) -> list[str]:
    """Those of the file names that end like pickled weights, sorted."""
    return sorted(name for name in names if name.endswith(PICKLE_ENDINGS))


def file_kind(path: Path) -> str:
    """One of "safetensors", "zip" and "pickle", by the first bytes; raises `UserError` for anything else."""
    if not path.exists():
        raise UserError(f"a file of weights must exist, but there is no {path}; check the spelling, or download it")
    if path.is_dir():
        raise UserError(f"weights must be a file, got the folder {path}; name the file in it")
    start = _start_of(path)
    # A length in 8 bytes, then JSON of that length. It comes first, for the length may begin like a pickle.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LARGEST_HEADER:
        return "safetensors"
    if start.startswith(ZIP):
        return "zip"
    if start.startswith(PICKLE):
        return "pickle"
    raise UserError(
        f"{path} must be a safetensors or torch file, but: it begins with {bytes(start[:8])!r}; download it again"
    )


def _start_of(path: Path) -> bytes:
    """The first bytes of a file; raises `UserError` if they are not those of any file of ours."""
    with open_regular(path, "a file of weights") as file:
        start, size = file.read(512), os.fstat(file.fileno()).st_size
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        raise UserError(f"{path} must hold data, but: it is empty; download it again")
    if start.startswith(LFS_POINTER):
        raise UserError(
            f"{path} must hold data, but: got a Git-LFS pointer of {size} bytes; run `git lfs pull` in its "
            "folder, or download it again"
        )
    if text.startswith(PAGES):
        raise UserError(
            f"{path} must hold data, but: got a web page of {size} bytes; download the file itself, not its page"
        )
    return start


def _check_zip(path: Path) -> None:
    """Raise unless every record lies in the file as it is: torch stores records uncompressed, a bomb does not."""
    try:
        with open_regular(path, "a file of weights") as file, zipfile.ZipFile(file) as archive:
            for record in archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
                    raise UserError(
                        f"{path} must be a file that torch.save wrote, but {record.filename} in it is "
                        "compressed; save it again"
                    )
    except UserError:
        raise
    except Exception as error:  # a damaged directory raises whatever its bytes happen to mean
        raise damaged(path, error) from error


def damaged(path: Path | str, error: BaseException) -> UserError:
    """The error for a file of weights that is cut off or otherwise not whole."""
    return UserError(f"{path} must be a whole file of weights, but: {first_line(error)}; download or save it again")
