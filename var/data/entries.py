"""What lies in a folder of data: class folders, images, and what is left out of them, which is counted."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from var.errors import UserError
from var.foreign.pictures import SUFFIXES
from var.names import shown
from var.quantities import count

SYSTEM = frozenset(
    (
        "#recycle", "#snapshot", "$recycle.bin", "@__thumb", "@eadir", "@recently-snapshot", "@recycle", "@tmp",
        "__macosx", "__pycache__", "aquota.group", "aquota.user", "desktop.ini", "ehthumbs.db", "ehthumbs_vista.db",
        "found.000", "icon\r", "lost+found", "network trash folder", "recycled", "recycler",
        "system volume information", "temporary items", "thevolumesettingsfolder", "thumbs.db", "~snapshot",
    )
)  # fmt: skip
"""Names, in small letters, of what operating systems and disk stations leave in folders; as little as hidden files."""

OTHER_PICTURES = (
    ".apng", ".arw", ".avif", ".cr2", ".cr3", ".dds", ".dib", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico",
    ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".nef", ".orf", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".raf",
    ".raw", ".svg", ".tga", ".tif", ".tiff", ".xbm",
)  # fmt: skip
"""Suffixes of pictures that are not read; whoever has some of these should know."""

RECORD = ".written.json"
"""What `write_folder` leaves to say which data a folder holds; nothing is lost with it."""

METADATA = "metadata.jsonl"
"""Captions of the images in a folder and in those within it, a line each."""
TEXT = ".txt"
"""The suffix of a file that holds the caption of the image of the same name."""

PICTURE, LEFT, FOLDER, OTHER = "picture of an unread format", "hidden or system entry", "sub-folder", "other file"
LABEL = "label without an image"
_KINDS = (PICTURE, LABEL, FOLDER, OTHER, LEFT)
_MANY = {PICTURE: "pictures of unread formats", LEFT: "hidden or system entries", LABEL: "labels without an image"}


class LeftOut:
    """How many entries of each kind do not become images, and the name of one."""

    def __init__(self, found: dict[str, tuple[int, str]] | None = None) -> None:
        self.found = dict(found or {})

    def add(self, kind: str, name: str, number: int = 1) -> None:
        """Count `number` more of a `kind`."""
        before, first = self.found.get(kind, (0, name))
        self.found[kind] = before + number, min(first, name)  # whatever the order of the folder

    def take(self, other: "LeftOut") -> None:
        """Count what `other` has counted."""
        for kind, (number, name) in other.found.items():
            self.add(kind, name, number)

    def notes(self, source: Any) -> tuple[str, ...]:
        """A line about `source`, if anything is left out."""
        kinds = [kind for kind in _KINDS if kind in self.found]
        parts = [
            f"{count(self.found[kind][0], kind, _MANY.get(kind))} (as {shown(self.found[kind][1])})" for kind in kinds
        ]
        return (f"{shown(str(source))}: left out are {', '.join(parts)}",) if parts else ()

    def stored(self) -> dict[str, list[Any]]:
        """As JSON has it; `read` undoes it."""
        return {kind: [number, name] for kind, (number, name) in self.found.items()}

    @classmethod
    def read(cls, found: Any) -> "LeftOut | None":
        """What was stored of `found`; None if it is nothing of the kind."""
        if not isinstance(found, dict) or not all(
            kind in _KINDS and isinstance(entry, list) and [type(part) for part in entry] == [int, str]
            for kind, entry in found.items()
        ):
            return None
        return cls({kind: (number, name) for kind, (number, name) in found.items()})


@dataclass(slots=True)
class Entries:
    """The names in a folder, sorted."""

    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    bare: list[int] | None = None  # places of the images that have no text beside them; None if none has
    metadata: bool = False  # whether METADATA is there
    left_out: LeftOut = field(default_factory=LeftOut)


def is_left_out(name: str) -> bool:
    """Whether `name` is that of a hidden file or folder, or of one of the operating system's."""
    return name.startswith(".") or name.lower() in SYSTEM


def lies_left_out(path: str) -> bool:
    """Whether any part of a `path` with slashes is left out."""
    return any(is_left_out(part) for part in PurePosixPath(path).parts if part != "..")


def file_kind(name: str) -> str:
    """What is left out with a file of this `name`, which is no image."""
    return PICTURE if name.lower().endswith(OTHER_PICTURES) else OTHER


def read_entries(folder: Path, *, keep_broken_links: bool = False) -> Entries:
    """What is directly in `folder`; not descending, it can meet no loop.

    `keep_broken_links` takes links that lead nowhere for images if they have the suffix of one. Raises `UserError` for
    other such links, for pipes and devices that are called as images, and for a folder that cannot be read.
    """
    found = Entries()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _sort(entry, found, keep_broken_links)
    except OSError as error:
        raise unreadable_folder(folder, error) from error
    for names in (found.folders, found.images, found.others):
        names.sort()
    _part_others(found)
    return found


def _sort(entry: os.DirEntry, found: Entries, keep_broken_links: bool) -> None:
    if is_left_out(entry.name):
        if entry.name != RECORD:
            found.left_out.add(LEFT, entry.name)
        return
    is_image = entry.name.lower().endswith(SUFFIXES)
    kind = entry_kind(entry)
    if kind == "folder":
        found.folders.append(entry.name)
    elif is_image and (kind == "file" or (kind == "broken link" and keep_broken_links)):
        found.images.append(entry.name)
    elif kind == "broken link":
        raise UserError(
            f"{entry.path} must lead to a file or folder, but the link is broken or a loop; repair or remove it"
        )
    elif is_image:  # opening a pipe would wait for ever
        raise UserError(f"{entry.path} must be a regular file, got a pipe, socket or device; remove it")
    else:
        found.others.append(entry.name)


def _part_others(found: Entries) -> None:
    """Tell captions from what is left out."""
    texts = {stem(name) for name in found.others if name.endswith((TEXT, TEXT.upper()))}
    texts &= {stem(name) for name in found.images}
    if texts:
        found.bare = [place for place, name in enumerate(found.images) if stem(name) not in texts]
    for name in found.others:
        if name == METADATA:
            found.metadata = True
        elif not (name.endswith((TEXT, TEXT.upper())) and stem(name) in texts):
            found.left_out.add(file_kind(name), name)


def stem(name: str) -> str:
    """The name of a file without its suffix."""
    return name.rpartition(".")[0]


def entry_kind(entry: os.DirEntry) -> str:
    """What `entry` is or leads to: "folder", "file", "broken link" or "special"."""
    # The kind comes with the name; only for links is there a look at what they lead to.
    with suppress(OSError):  # a loop of links
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    return "broken link" if entry.is_symlink() and not os.path.exists(entry.path) else "special"


def check_no_deeper_images(folder: Path, inner: Iterable[str]) -> None:
    """Raise `UserError` if an image lies in one of the folders `inner` of a class folder: it would be lost."""

    def refuse(error: OSError) -> None:
        raise unreadable_folder(Path(error.filename or folder), error) from error

    for name in inner:
        for place, folders, files in os.walk(folder / name, onerror=refuse):
            folders[:] = [each for each in folders if not is_left_out(each)]
            image = next((each for each in files if each.lower().endswith(SUFFIXES) and not is_left_out(each)), None)
            if image is not None:
                raise UserError(
                    f"images must lie directly in the class folder {folder}, got {Path(place, image)} in a folder in "
                    "it; move them up, or the folder out of the data"
                )


def unreadable_folder(folder: Path, error: OSError) -> UserError:
    """The error for a `folder` whose entries cannot be read."""
    reason = error.strerror or str(error)
    return UserError(f"{folder} must be a readable folder, but: {reason}; check the path and permissions")
