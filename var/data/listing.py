"""Which images a folder holds: scanned quickly, kept compactly, and stored if asked for."""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.pictures import ACCEPTED, SUFFIXES
from var.errors import UserError
from var.files import write_text

UNSETTLED = 2.0
"""Seconds: a folder changed so shortly before it was scanned may change again without a newer time stamp."""


Item = TypeVar("Item")


class _Packed(Sequence[Item], ABC):
    """Items that are made when they are asked for."""

    @abstractmethod
    def _at(self, index: int) -> Item:
        """The item at `index`, which is not negative."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(place) for place in places]


class Names(_Packed[str]):
    """Many short strings in two arrays: a third of the memory that they take alone, and quickly sent to workers."""

    def __init__(self, names: Iterable[str]):
        encoded = [os.fsencode(name) for name in names]
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def _at(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._text[start : self._ends[index]].tobytes())

    def content(self) -> bytes:
        """All of it, for a fingerprint."""
        return self._text.tobytes() + self._ends.tobytes()


class Paths(_Packed[Path]):
    """Paths of many files in few folders."""

    def __init__(self, folders: Sequence[Path], names: Sequence[Sequence[str]]):
        self.names = Names(name for members in names for name in members)
        self._folders = tuple(folders)
        self._folder = np.repeat(np.arange(len(folders), dtype=np.int32), [len(members) for members in names])

    def __len__(self) -> int:
        return len(self.names)

    def _at(self, index: int) -> Path:
        return self._folders[self._folder[index]] / self.names[index]


@dataclass(frozen=True, slots=True)
class Listing:
    """The classes of a folder, and the images in each."""

    classes: tuple[str, ...]
    paths: Paths
    labels: Int64[Tensor, " n"]


def list_images(
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    keep_broken_links: bool = False,
    index: Path | None = None,
    progress: bool = False,
) -> Listing:
    """The image files of `root`, by class folders in the order of their names; see `FolderData` for what counts.

    Of some `classes` there may be no folder; folders of other names are refused. `keep_broken_links` lists links that
    lead nowhere if they have the suffix of an image, and leaves it to the reader to refuse them. With an `index`, only
    folders that have changed since it was written are scanned.

    Raises `UserError` if there is nothing to read, or something that cannot be read as it is meant.
    """
    folders, loose = _visible(root, keep_broken_links)
    if folders and loose:
        raise UserError(
            f"{root} must hold either class folders or images, got both ({folders[0]!r} and {loose[0]!r}); "
            "move the images into class folders"
        )
    if not folders:
        if not loose:
            raise UserError(f"no images in {root}; put one folder per class there, with {ACCEPTED} files")
        return Listing(("unlabelled",), Paths([root], [loose]), torch.zeros(len(loose), dtype=torch.int64))
    found = _members(root, folders, keep_broken_links, index, progress)
    names = tuple(folders) if classes is None else tuple(classes)
    strangers = sorted(set(folders) - set(names))
    if strangers:
        raise UserError(
            f"{root / strangers[0]} must be one of the {len(names)} classes that the training images have, got another "
            f"({len(strangers)} such); rename or remove it"
        )
    counts = torch.tensor([len(members) for members in found])
    labels = torch.tensor([names.index(folder) for folder in folders]).repeat_interleave(counts)
    return Listing(names, Paths([root / folder for folder in folders], found), labels)


def _members(
    root: Path, folders: list[str], keep_broken_links: bool, index: Path | None, progress: bool
) -> list[list[str]]:
    """The names of the images in every class folder, from the stored `index` where it is still right."""
    stored = _read_index(index, root, keep_broken_links) if index else {}
    found, entries = [], {}
    for name in tqdm(folders, desc="list images", unit="folder", disable=not progress):
        folder = root / name
        before, scanned = _changed(folder), time.time()
        if name in stored and stored[name][0] == before:
            members = stored[name][1]
        else:
            members = _visible(folder, keep_broken_links)[1]
        if not members:
            raise UserError(f"no images in the class folder {folder}; put {ACCEPTED} files there, or remove it")
        found.append(members)
        entries[name] = [before if scanned - before / 1e9 > UNSETTLED else 0, members]
    if index and entries != stored:
        write_text(index, json.dumps(_header(root, keep_broken_links) | {"folders": entries}))
    return found


def _header(root: Path, keep_broken_links: bool) -> dict[str, str | bool]:
    return {"kind": "var image listing 1", "root": str(root.resolve()), "keep_broken_links": keep_broken_links}


def _read_index(index: Path, root: Path, keep_broken_links: bool) -> dict[str, list]:
    """What `index` knows of `root`: for each class folder when it was changed last, and its images."""
    header = _header(root, keep_broken_links)
    content = stored_listing(index, str(header["kind"]), "images")
    folders = content.pop("folders", {})
    return folders if content == header else {}


def stored_listing(index: Path, kind: str, what: str) -> dict[str, Any]:
    """The JSON object in the file `index`, which is a listing of the `kind`; empty if there is no file."""
    try:
        content = json.loads(index.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{index} must be a stored listing of {what}, got: {error}; delete it") from error
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise UserError(f"{index} must be a stored listing of {what}, got another file; choose another name")
    return content


def _changed(folder: Path) -> int:
    """When an entry of `folder` was added, removed or renamed last, in nanoseconds."""
    try:
        return folder.stat().st_mtime_ns
    except OSError as error:
        raise unreadable_folder(folder, error) from error


def _visible(folder: Path, keep_broken_links: bool) -> tuple[list[str], list[str]]:
    """Names of the folders and image files directly in `folder`, sorted; not descending, it can meet no loop."""
    folders, images = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                is_image = entry.name.lower().endswith(SUFFIXES)
                kind = entry_kind(entry)
                if kind == "folder":
                    folders.append(entry.name)
                elif is_image and (kind == "file" or (kind == "broken link" and keep_broken_links)):
                    images.append(entry.name)
                elif kind == "broken link":
                    raise UserError(
                        f"{entry.path} must lead to a file or folder, but the link is broken or a loop; "
                        "repair or remove it"
                    )
                elif is_image:  # opening a pipe would wait for ever
                    raise UserError(f"{entry.path} must be a regular file, got a pipe, socket or device; remove it")
    except OSError as error:
        raise unreadable_folder(folder, error) from error
    return sorted(folders), sorted(images)


def entry_kind(entry: os.DirEntry) -> str:
    """What `entry` is or leads to: "folder", "file", "broken link" or "special"."""
    # The kind comes with the name; only for links is there a look at what they lead to.
    with suppress(OSError):  # a loop of links
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    return "broken link" if entry.is_symlink() and not os.path.exists(entry.path) else "special"


def unreadable_folder(folder: Path, error: OSError) -> UserError:
    """The error for a `folder` whose entries cannot be read."""
    reason = error.strerror or str(error)
    return UserError(f"{folder} must be a readable folder, but: {reason}; check the path and permissions")
