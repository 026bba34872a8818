"""Which images a folder holds: scanned quickly, kept compactly, and stored if asked for."""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.class_names import checked_names
from var.data.entries import (
    FOLDER,
    METADATA,
    RECORD,
    Entries,
    LeftOut,
    check_no_deeper_images,
    read_entries,
    unreadable_folder,
)
from var.errors import UserError
from var.files import write_text
from var.foreign.documents import parse_json
from var.foreign.pictures import ACCEPTED
from var.foreign.regular import MissingError, read_bytes

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

    def within(self, root: Path) -> Iterator[str]:
        """Each path as seen from `root`, which is the only folder or holds all folders."""
        folders = ["" if folder == root else f"{folder.name}/" for folder in self._folders]
        return (folders[folder] + name for folder, name in zip(self._folder.tolist(), self.names, strict=True))

    def _at(self, index: int) -> Path:
        return self._folders[self._folder[index]] / self.names[index]


@dataclass(frozen=True, slots=True)
class Listing:
    """The classes of a folder, the images in each, and a line about what is left out, if anything is."""

    classes: tuple[str, ...]
    paths: Paths
    labels: Int64[Tensor, " n"]
    beside: np.ndarray  # for each image, whether a text of its name lies beside it
    metadata: tuple[Path, ...] = ()  # files of captions
    notes: tuple[str, ...] = ()


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
    found = read_entries(root, keep_broken_links=keep_broken_links)
    _check_whole(root)
    folders, loose, left_out = found.folders, found.images, found.left_out
    if folders and loose:
        raise UserError(
            f"{root} must hold either class folders or images, got both ({folders[0]!r} and {loose[0]!r}); "
            "move the images into class folders"
        )
    if not folders:
        if not loose:
            raise UserError(
                f"no images in {root}; put one folder per class there, with {ACCEPTED} files{_but(left_out)}"
            )
        labels = torch.zeros(len(loose), dtype=torch.int64)
        metadata = (root / METADATA,) if found.metadata else ()
        paths = Paths([root], [loose])
        return Listing(("unlabelled",), paths, labels, _with_text(found), metadata, left_out.notes(root))
    checked_names(folders, str(root))
    names = tuple(folders) if classes is None else tuple(classes)
    strangers = sorted(set(folders) - set(names))
    if strangers:
        raise UserError(
            f"{root / strangers[0]} must be one of the {len(names)} classes that the training images have, got another "
            f"({len(strangers)} such); rename or remove it"
        )
    members = _members(root, folders, keep_broken_links, index, progress)
    for inside in members:
        left_out.take(inside.left_out)
    counts = torch.tensor([len(inside.images) for inside in members])
    places = {name: place for place, name in enumerate(names)}
    labels = torch.tensor([places[folder] for folder in folders]).repeat_interleave(counts)
    paths = Paths([root / folder for folder in folders], [inside.images for inside in members])
    beside = np.concatenate([_with_text(inside) for inside in members])
    named = zip((root, *(root / folder for folder in folders)), (found, *members), strict=True)
    metadata = tuple(folder / METADATA for folder, inside in named if inside.metadata)
    return Listing(names, paths, labels, beside, metadata, left_out.notes(root))


def _with_text(inside: Entries) -> np.ndarray:
    """For each image in a folder, whether a text lies beside it."""
    beside = np.full(len(inside.images), inside.bare is not None)
    beside[inside.bare or []] = False
    return beside


def _members(
    root: Path, folders: list[str], keep_broken_links: bool, index: Path | None, progress: bool
) -> list[Entries]:
    """What lies in every class folder, from the stored `index` where it is still right."""
    stored = _read_index(index, root, keep_broken_links) if index else {}
    found, entries = [], {}
    for name in tqdm(folders, desc="list images", unit="folder", disable=not progress):
        folder = root / name
        before, scanned = _changed(folder), time.time()
        inside = _known(stored.get(name), before) or read_entries(folder, keep_broken_links=keep_broken_links)
        if not inside.images:
            raise UserError(
                f"no images in the class folder {folder}; put {ACCEPTED} files there, or remove it"
                f"{_but(inside.left_out)}"
            )
        check_no_deeper_images(folder, inside.folders)
        for inner in inside.folders:
            inside.left_out.add(FOLDER, f"{name}/{inner}")
        found.append(inside)
        # A change in a folder within it would go unseen.
        settled = scanned - before / 1e9 > UNSETTLED and not inside.folders
        captions = [inside.bare, inside.metadata]
        entries[name] = [before if settled else 0, inside.images, inside.left_out.stored(), captions]
    if index and entries != stored:
        write_text(index, json.dumps(_header(root, keep_broken_links) | {"folders": entries}))
    return found


def _check_whole(root: Path) -> None:
    """Raise `UserError` for a folder that `write_folder` did not fill to the end."""
    record = root / RECORD
    if not record.exists():
        return
    known = parse_json(read_bytes(record, most=2**20), record, remedy="write the data anew")
    if known.get("whole") is False:
        raise UserError(f"{root} was written only in part; repeat the call that wrote it, or remove the folder")


def _but(left_out: LeftOut) -> str:
    notes = left_out.notes("there")
    return f" ({notes[0]})" if notes else ""


def _header(root: Path, keep_broken_links: bool) -> dict[str, str | bool]:
    return {"kind": "var image listing 1", "root": str(root.resolve()), "keep_broken_links": keep_broken_links}


def _read_index(index: Path, root: Path, keep_broken_links: bool) -> dict[str, Any]:
    """What `index` knows of `root`: for each class folder when it was changed, its images, and what is left out."""
    header = _header(root, keep_broken_links)
    content = stored_listing(index, str(header["kind"]), "images")
    folders = content.pop("folders", {})
    return folders if content == header and isinstance(folders, dict) else {}


def _known(entry: Any, changed: int) -> Entries | None:
    """What an index says of a folder, if that was `changed` no later and the entry is as this version writes it."""
    # Older versions had no captions, and three parts.
    if not isinstance(entry, list) or len(entry) != 4 or type(entry[0]) is not int or entry[0] != changed:
        return None
    images, left_out, captions = entry[1], LeftOut.read(entry[2]), entry[3]
    if left_out is None or not isinstance(images, list) or not isinstance(captions, list) or len(captions) != 2:
        return None
    bare, metadata = captions
    if type(metadata) is not bool or not (bare is None or _are_places(bare, len(images))):
        return None
    if not all(type(name) is str and name and not set(name) & set("/\0") for name in images) or images != sorted(
        set(images)
    ):
        return None
    return Entries(images=images, bare=bare, metadata=metadata, left_out=left_out)


def _are_places(value: Any, length: int) -> bool:
    """Whether a value is a list of different places in [0, length), in order."""
    if not isinstance(value, list) or not all(type(place) is int for place in value):
        return False
    return value == sorted(set(value)) and (not value or 0 <= value[0] <= value[-1] < length)


def stored_listing(index: Path, kind: str, what: str) -> dict[str, Any]:
    """The JSON object in the file `index`, which is a listing of the `kind`; empty if there is no file."""
    try:
        content = parse_json(read_bytes(index), index, object)
    except MissingError:
        return {}
    except UserError as error:
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
