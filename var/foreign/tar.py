"""Tar files of others, not compressed: every member, and where it lies."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from var.errors import UserError, first_line
from var.foreign.regular import open_regular

MOST_EXTRA = 2**20
"""Bytes of a long name or of extended headers; the library would read as many as a header claims."""
MOST_PADDING = 2**26
"""Zero bytes between two archives that were joined, or after the last; a real one has a few thousand."""

COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
"""How compressed files begin."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive."""

    name: str
    kind: str  # "file", "folder", or why its content does not lie at its place: "link", "sparse file", "device or pipe"
    offset: int  # of its content in the file
    size: int  # bytes


class Tar:
    """An open tar file; see `opened_tar`."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file

    def members(self) -> Iterator[Member]:
        """All members, in order, those of further archives that were joined to the first too.

        Raises `UserError` at what is damaged or ends early: nothing is left out in silence.
        """
        start: int | None = 0
        while start is not None:
            archive = self._read(lambda start=start: self._begin(start))
            last = -1
            while (found := self._read(archive.next)) is not None:
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue] - else all headers stay in memory
                if found.size < 0 or archive.offset <= last:
                    raise self._damaged(f"the header at byte {found.offset} has a negative size")
                last = archive.offset
                yield Member(found.name, _kind(found), found.offset_data, found.size)
            start = self._next_archive(archive.offset)

    def content(self, member: Member, most: int) -> bytes:
        """The bytes of a `member`; raises `UserError` if it has more than `most`."""
        if member.size > most:
            raise UserError(
                f"{self._path}:{member.name} must have at most {most} bytes, got {member.size}; write the shard anew"
            )
        self._file.seek(member.offset)
        return self._file.read(member.size)

    def _begin(self, start: int) -> tarfile.TarFile:
        self._file.seek(start)
        beginning = self._file.read(8)
        for magic, name in COMPRESSED.items():
            if beginning.startswith(magic):
                raise tarfile.ReadError(f"it is compressed ({name})")
        self._file.seek(start)
        return tarfile.open(fileobj=self._file, mode="r:", tarinfo=_BoundedInfo, encoding="utf-8")

    def _next_archive(self, end: int) -> int | None:
        """Where another archive begins after the one that ends at `end`; what is neither one nor padding is refused."""
        self._file.seek(end)
        # Where a header is damaged tarfile stops as at the end, and whatever comes after would be lost unnoticed.
        if self._file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise self._damaged(f"the header at byte {end} is damaged")
        place, part = end + tarfile.BLOCKSIZE, 2**16
        while chunk := self._file.read(part):
            if chunk.strip(b"\0"):
                before = len(chunk) - len(chunk.lstrip(b"\0"))
                return place + before // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
            place += len(chunk)
            if place - end > MOST_PADDING:
                raise self._damaged(f"more than {MOST_PADDING} zero bytes follow byte {end}")
        return None

    def _read(self, step: Any) -> Any:
        try:
            return step()
        except UserError:
            raise
        except Exception as error:  # the library raises its own kinds, and those of numbers and texts it stumbles over
            raise self._damaged(first_line(error)) from error

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self._path} must be a whole tar file, not compressed, but: {reason}; write it anew")


@contextmanager
def opened_tar(path: Path) -> Iterator[Tar]:
    """The tar file at `path`; raises `UserError` if there is no regular file."""
    with open_regular(path, "a tar file") as file:
        yield Tar(path, file)


def read_part(path: Path, offset: int, size: int) -> bytes:
    """At most `size` bytes of the file at `path` from `offset` on; raises `UserError` if it cannot be read."""
    with open_regular(path, "a tar file") as file:
        try:
            file.seek(offset)
            return file.read(size)
        except OSError as error:
            raise UserError(f"{path} must be readable, but: {error.strerror}; look at the disk") from error


class _BoundedInfo(tarfile.TarInfo):
    """A header, whose long names and extended fields are not read if they are longer than any real ones."""

    def _proc_gnulong(self, archive: tarfile.TarFile) -> Any:
        self._check_extra()
        return super()._proc_gnulong(archive)  # pyright: ignore[reportAttributeAccessIssue]

    def _proc_pax(self, archive: tarfile.TarFile) -> Any:
        self._check_extra()
        return super()._proc_pax(archive)  # pyright: ignore[reportAttributeAccessIssue]

    def _check_extra(self) -> None:
        if not 0 <= self.size <= MOST_EXTRA:
            raise tarfile.ReadError(f"the header at byte {self.offset} claims {self.size} bytes of names")


def _kind(member: tarfile.TarInfo) -> str:
    if member.isdir():
        return "folder"
    if member.issym() or member.islnk():
        return "link"
    if member.issparse():
        return "sparse file"
    return "file" if member.isreg() else "device or pipe"
