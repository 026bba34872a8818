"""Images in tar shards, in webdataset's layout, read where they lie: random access without unpacking."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from tqdm.auto import tqdm

from var.data.class_names import checked_names, numbered_names
from var.data.entries import LABEL, LEFT, PICTURE, LeftOut, file_kind, lies_left_out
from var.data.image_size import Size
from var.data.listing import Names, stored_listing
from var.data.pictures import PictureData
from var.data.whole_numbers import label_in_json, label_in_text
from var.errors import UserError
from var.files import write_text
from var.foreign.pictures import ACCEPTED, SUFFIXES, BadImageError
from var.foreign.regular import read_text
from var.foreign.tar import Member, Tar, opened_tar, read_part
from var.names import shown
from var.paths import expanded

KIND = "var tar index 1"
MOST_LABEL = 2**20
"""Bytes of a member that holds a label."""


class TarData(PictureData):
    """The images of tar files, in the order of the files and of the members in each.

    A sample is the members of one shard whose names agree up to the first dot after the last slash: an image (png, jpg,
    jpeg, webp, bmp or gif) and its label, as a whole number in a member "cls", or as "label" in a member "json". Where
    no sample has a label, all form the class "unlabelled". Class names stand in `classes.txt` beside the first shard,
    one per line in the order of the labels; without it the classes are called "0", "1", ... Members are read at random
    from where they lie, so that order, resumption and the share of every process are as with any other data, and no
    sample is lost or doubled: archives that were joined to one file are all read. How a picture becomes an image is
    said at `PictureData`; `notes` counts the members that are no part of a sample.

    Args:
        shards: the tar files, not compressed.
        index: a file that keeps where the members lie; made if absent, refreshed for shards that have changed.

    Raises `UserError`, with the shard, for files that are no whole tar files or given twice, and for samples that are
    not as above.
    """

    def __init__(
        self,
        shards: Sequence[Path | str],
        *,
        size: Size,
        channels: SupportsIndex = 3,
        index: Path | None = None,
        progress: bool = False,
    ):
        super().__init__(size=size, channels=channels)
        self.shards = _distinct([shards] if isinstance(shards, (str, Path)) else shards)
        self.places = self.shards
        contents = _read_shards(self.shards, index, progress)
        counts = [len(content.names) for content in contents]
        if sum(counts) == 0:
            others = f" and {len(contents) - 1} other shards" if len(contents) > 1 else ""
            raise UserError(f"no images in {self.shards[0]}{others}; put {ACCEPTED} members there")
        self._shard = np.repeat(np.arange(len(contents), dtype=np.int32), counts)
        self._offsets = np.concatenate([np.array(content.offsets, np.int64) for content in contents])
        self._sizes = np.concatenate([np.array(content.sizes, np.int64) for content in contents])
        self._names = Names([name for content in contents for name in content.names])
        self.classes, self.labels = self._classes([label for content in contents for label in content.labels])
        left_out = LeftOut()
        for content in contents:
            left_out.take(content.left_out)
        empty = len(self.classes) - len(self.labels.unique())
        source = shown(self.shards[0] if len(contents) == 1 else f"{self.shards[0].parent}, shards")
        self.notes = left_out.notes(source)
        if self.classes == ("unlabelled",) and self._lies_in_folders():
            told = "a member cls, or json"
            self.notes += (f"{source}: no sample has a label ({told}), so the images of all folders are one class",)
        if empty:
            self.notes += (f"{empty} of {len(self.classes)} classes have no image in these shards",)

    def source(self, index: int) -> bytes:
        """The encoded picture at `index`."""
        size = int(self._sizes[index])
        content = read_part(self.shards[self._shard[index]], int(self._offsets[index]), size)
        if len(content) < size:
            raise BadImageError(f"{self.describe(index)} must have {size} bytes, got {len(content)}; mend the shard")
        return content

    def describe(self, index: int) -> str:
        """The path of the shard and the name of the member at `index`."""
        return shown(f"{self.shards[self._shard[index]]}:{self._names[index]}")

    def identity(self) -> str:
        """What the fingerprint takes in: names, places and sizes of all members."""
        digest = hashlib.blake2b(self._names.content(), digest_size=16)
        for array in (self._shard, self._offsets, self._sizes):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _lies_in_folders(self) -> bool:
        """Whether the images lie in several folders, as those of classes."""
        return len({name.removeprefix("./").rpartition("/")[0] for name in self._names}) > 1

    def _classes(self, labels: list[int | None]) -> tuple[tuple[str, ...], torch.Tensor]:
        bare = sum(label is None for label in labels)
        if bare == len(labels):
            return ("unlabelled",), torch.zeros(len(labels), dtype=torch.int64)
        if bare:
            name = self.describe(labels.index(None))
            raise UserError(f"{name} must have a label as other samples have, got none ({bare} such); add a member cls")
        numbers = torch.tensor(labels, dtype=torch.int64)
        worst = int(numbers.argmin() if numbers.min() < 0 else numbers.argmax())
        listed = self.shards[0].parent / "classes.txt"
        if listed.exists():
            names = read_class_names(listed)
        else:
            names = numbered_names(int(numbers.max()) + 1, self.describe(int(numbers.argmax())))
        if not 0 <= numbers[worst] < len(names):
            raise UserError(
                f"{self.describe(worst)} must have a label in [0, {len(names)}), got {int(numbers[worst])}; correct it "
                f"or name all classes in {listed}"
            )
        return names, numbers


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names in a text file, one per line in the order of the labels.

    Raises `UserError` for a file that is no UTF-8 text, and for empty and double names.
    """
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    empty = next((number for number, line in enumerate(lines, 1) if not line.strip()), None)
    if empty is not None:
        raise UserError(f"{path} must name one class per line, got an empty line {empty}; name the class or remove it")
    return checked_names((line.strip() for line in lines), str(path))


def _distinct(shards: Sequence[Path | str]) -> tuple[Path, ...]:
    """The paths of `shards`; raises `UserError` if there are none, or a file comes twice and its samples would too."""
    paths = tuple(expanded(shard) for shard in shards)
    if not paths:
        raise UserError("tar data need at least one shard, got none; name a tar file")
    places: dict[Path, Path] = {}
    for path in paths:
        place = path.resolve()
        if place in places:
            raise UserError(
                f"every shard must be given once, got {places[place]} and {path}, which are one file; drop one"
            )
        places[place] = path
    return paths


@dataclass
class _Content:
    """The images of one shard: name, place, size and label of each, and what is no image."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def stored(self, state: list[int]) -> list[Any]:
        """As the index keeps it, of a file in this `state`."""
        return [state, [self.names, self.offsets, self.sizes, self.labels], self.left_out.stored()]


def _read_shards(shards: Sequence[Path], index: Path | None, progress: bool) -> list[_Content]:
    stored = stored_listing(index, KIND, "shards").get("shards") if index else {}
    stored = stored if isinstance(stored, dict) else {}
    entries, contents = {}, []
    for path in tqdm(shards, desc="list shards", unit="shard", disable=not progress):
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{path} must be a tar file, but: {reason}; check the path") from error
        state, name = [status.st_size, status.st_mtime_ns], str(path.resolve())
        content = _known(stored.get(name), state) or _list_members(path)
        contents.append(content)
        entries[name] = content.stored(state)
    if index and entries != stored:
        write_text(index, json.dumps({"kind": KIND, "shards": entries}))
    return contents


def _known(entry: Any, state: list[int]) -> _Content | None:
    """What an index knows of a shard, if it is the same still and the entry is one that this version writes."""
    if not isinstance(entry, list) or len(entry) != 3 or entry[0] != state:
        return None
    columns, left_out = entry[1], LeftOut.read(entry[2])
    if left_out is None or not isinstance(columns, list) or [type(column) for column in columns] != [list] * 4:
        return None
    names, offsets, sizes, labels = columns
    if not len(names) == len(offsets) == len(sizes) == len(labels) or not all(type(name) is str for name in names):
        return None
    if not all(
        type(o) is int and type(s) is int and 0 <= o <= o + s <= state[0] for o, s in zip(offsets, sizes, strict=True)
    ):
        return None
    if not all(label is None or (type(label) is int and abs(label) < 2**63) for label in labels):
        return None
    return _Content(names, offsets, sizes, labels, left_out)


def _list_members(path: Path) -> _Content:
    """The images of the shard at `path`; raises `UserError` if it is no whole, uncompressed tar file."""
    with opened_tar(path) as archive:
        return _group(path, archive)


def _group(path: Path, archive: Tar) -> _Content:
    """Images and labels with the same key, in the order of the images."""
    content, keys, seen = _Content(), [], set()
    labels: dict[str, dict[str, int | None]] = {}
    for member in archive.members():
        folder, slash, base = member.name.rpartition("/")
        stem, _, extension = base.partition(".")
        last = f".{extension.rpartition('.')[2].lower()}"
        if member.kind == "folder":
            continue
        if lies_left_out(member.name) or not stem:
            content.left_out.add(LEFT, member.name)
            continue
        key = folder + slash + stem
        if last in SUFFIXES:
            _check_file(path, member)
            if key in seen:
                raise UserError(f"{path}:{member.name} must be the only image of its sample, got another; rename one")
            seen.add(key)
            keys.append(key)
            content.names.append(member.name)
            content.offsets.append(member.offset)
            content.sizes.append(member.size)
        elif extension.lower() in ("cls", "json"):
            _check_file(path, member)
            told = labels.setdefault(key, {})
            if extension.lower() in told:
                raise UserError(f"{path}:{member.name} must come once in its sample, got it twice; drop one")
            told[extension.lower()] = _label(path, archive, member, extension.lower())
        elif (kind := file_kind(member.name)) == PICTURE:  # other texts may belong to a sample
            content.left_out.add(kind, member.name)
    found = [labels.pop(key, {}) for key in keys]
    content.labels = [told.get("cls", told.get("json")) for told in found]
    for key, told in labels.items():
        if any(label is not None for label in told.values()):
            content.left_out.add(LABEL, key)
    return content


def _check_file(path: Path, member: Member) -> None:
    if member.kind != "file":
        raise UserError(
            f"{path}:{member.name} must be a regular file in the shard, got a {member.kind}; write the shard anew with "
            "the files themselves"
        )


def _label(path: Path, archive: Tar, member: Member, extension: str) -> int | None:
    name, content = f"{path}:{member.name}", archive.content(member, MOST_LABEL)
    return label_in_json(content, name) if extension == "json" else label_in_text(content, name)
