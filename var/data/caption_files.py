"""Captions of images in folders: text files beside them, and lines of `metadata.jsonl`."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from var.data.base import Captions, sampled_places
from var.data.captions import MOST_BYTES, caption_in_text, caption_of, has_caption, no_caption
from var.data.entries import METADATA, OTHER, TEXT, LeftOut, read_entries
from var.data.listing import Listing, Names, Paths
from var.errors import UserError
from var.foreign.documents import EncodingError, lines_of_json, object_in_line, taken
from var.foreign.pictures import BadImageError
from var.foreign.regular import LongError, MissingError, read_bytes
from var.names import shown
from var.quantities import count


class FolderCaptions(Captions):
    """The captions of the images at `paths`, read from files when they are asked for, or from lines read before.

    Asking raises `BadImageError`, with the path, and the line where there is one, for a caption that is none.
    """

    def __init__(self, paths: Paths, beside: np.ndarray, lines: "Lines"):
        super().__init__(len(paths), self._read)
        self._paths, self._beside = paths, beside
        self._texts = Names(lines.texts.get(place, "") for place in range(len(paths))) if lines.texts else None
        self._faults = lines.faults

    def _read(self, index: int) -> str:
        if self._beside[index]:
            return caption_in_text(self._content(index), str(_text_path(self._paths[index])))
        if index in self._faults:
            raise BadImageError(self._faults[index])
        if self._texts and (text := self._texts[index]):
            return text
        path = self._paths[index]
        raise no_caption(shown(path), f"write {shown(path.stem)}{TEXT} beside it or a line of {METADATA}")

    def identity(self) -> str:
        """What a fingerprint takes in: which images have texts, a thousand of those in files, and all others."""
        digest = hashlib.blake2b(np.packbits(self._beside).tobytes(), digest_size=16)
        for place in sampled_places(len(self)):
            if self._beside[place]:
                try:
                    digest.update(self._content(place) + b"\n")
                except BadImageError:
                    digest.update(b"\0")
        digest.update(self._texts.content() if self._texts else b"")
        digest.update(json.dumps(sorted(self._faults)).encode())
        return digest.hexdigest()

    def _content(self, index: int) -> bytes:
        try:
            return read_bytes(_text_path(self._paths[index]), most=MOST_BYTES, what="a caption")
        except (MissingError, LongError) as error:
            raise BadImageError(str(error)) from error


def _text_path(image: Path) -> Path:
    path = image.with_suffix(TEXT)
    other = image.with_suffix(TEXT.upper())
    return other if not path.exists() and other.exists() else path


@dataclass
class Lines:
    """What files called `METADATA` say: the caption of each image, or what is wrong with it, and its line."""

    texts: dict[int, str] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    where: dict[int, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)  # lines whose image is not there, or is not told

    def add(self, other: "Lines") -> None:
        """Take in what another file says; raises `UserError` for an image that both speak of."""
        for place in sorted(self.where.keys() & other.where.keys()):
            raise _twice(self.where[place], other.where[place])
        for mine, others in ((self.texts, other.texts), (self.faults, other.faults), (self.where, other.where)):
            mine.update(others)
        self.strangers += other.strangers


def read_captions(
    root: Path, listing: Listing, *, upper: Path | None = None, skip: bool = False
) -> tuple[FolderCaptions | None, tuple[str, ...]]:
    """The captions of the images in a listing of `root`, None if there are none, and lines about what is left out.

    `upper` is a file beside `root`, of which only the lines count whose images lie in it. With `skip`, lines whose
    image is not there are counted instead of refused.

    Raises `UserError`, with the path and the line, for those, for a line that is no JSON object with a `file_name`, and
    for an image with two captions.
    """
    files = [*([upper] if upper else []), *listing.metadata]
    lines, left_out = Lines(), LeftOut()
    places = {name: place for place, name in enumerate(listing.paths.within(root))} if files else {}
    for path in files:
        found = _read_lines(path, root, places, skip=skip)
        if found is None:  # a file of that name with something else in it
            left_out.add(OTHER, path.name)
        else:
            lines.add(found)
    if lines.strangers and not skip:
        remedy = f"names are relative to the folder of {METADATA}, with '/'; correct the line or remove it"
        raise UserError(f"{lines.strangers[0]} ({count(len(lines.strangers), 'such line')}); {remedy}")
    beside = listing.beside
    for place in np.flatnonzero(beside).tolist():
        if place in lines.texts or place in lines.faults:
            raise _twice(shown(_text_path(listing.paths[place])), lines.where[place])
    notes = left_out.notes(root)
    if lines.strangers:
        notes += (f"{lines.strangers[0]} ({count(len(lines.strangers), 'line')} left out)",)
    if not (beside.any() or lines.texts or lines.faults):
        return None, notes
    known = lines.texts.keys() | lines.faults.keys()
    if bare := [place for place in np.flatnonzero(~beside).tolist() if place not in known]:
        first = shown(listing.paths[bare[0]])
        notes += (f"{shown(root)}: {len(bare)} of {len(beside)} images have no caption (as {first})",)
    return FolderCaptions(listing.paths, beside, lines), notes


def _read_lines(path: Path, root: Path, places: dict[str, int], *, skip: bool) -> Lines | None:
    """What the file at `path` says; None if no line has a caption. With `skip`, lines in no UTF-8 are strangers."""
    lines, has_some, fault = Lines(), False, None
    name, called = _Name.of(path.parent, root), shown(path)
    for number, line in lines_of_json(path):
        try:
            values = object_in_line(line, path, number)
        except EncodingError as error:
            if not skip:
                raise
            lines.strangers.append(str(error))
            continue
        has_some = has_some or has_caption(values)
        try:
            _take(values, f"{called}, line {number}", name, places, lines)
        except UserError as error:  # of no concern, should the file hold no captions
            fault = fault or error
    if has_some and fault:
        raise fault
    return lines if has_some else None


def _take(values: dict[str, Any], source: str, name: "_Name", places: dict[str, int], lines: Lines) -> None:
    """Take one line, called `source`, into `lines`."""
    given = taken(values, "file_name", str, source, remedy="correct the line")
    if name.is_elsewhere(given):
        return
    place = places.get(name.inner(given))
    if place is None:
        lines.strangers.append(f"{source} must name an image of the data, got {shown(repr(given)[:200])}")
        return
    if place in lines.where:
        raise _twice(lines.where[place], source)
    lines.where[place] = source
    if not has_caption(values):
        return
    try:
        lines.texts[place] = caption_of(values, source)
    except BadImageError as error:
        lines.faults[place] = str(error)


@dataclass(frozen=True)
class _Name:
    """From a name as seen from the folder of the file to one as seen from the root of the data."""

    added: str = ""  # put before it, where the file lies in a class folder
    removed: str = ""  # taken from its beginning, where the file lies beside the root
    elsewhere: frozenset[str] = frozenset()  # folders beside the root

    @classmethod
    def of(cls, folder: Path, root: Path) -> "_Name":
        if folder == root:  # which may be ".", and so its own parent
            return cls()
        if folder != root.parent:
            return cls(added=f"{folder.name}/")
        beside = set(read_entries(folder).folders) - {root.name}
        return cls(removed=f"{root.name}/", elsewhere=frozenset(beside))

    def is_elsewhere(self, given: str) -> bool:
        return bool(self.elsewhere) and _plain(given).partition("/")[0] in self.elsewhere

    def inner(self, given: str) -> str:
        given = _plain(given)
        return self.added + given.removeprefix(self.removed) if given.startswith(self.removed) else ""


def _plain(name: str) -> str:
    return str(PurePosixPath(name)) if "./" in name or "//" in name else name


def _twice(first: str, second: str) -> UserError:
    return UserError(f"an image must have its caption once, got one in {first} and one in {second}; keep one of them")
