"""Images in tar shards, in webdataset's layout, read where they lie: random access without unpacking."""

import hashlib
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from tqdm.auto import tqdm

from var.data.base import BadImageError
from var.data.listing import Names, stored_listing
from var.data.pictures import ACCEPTED, SUFFIXES, PictureData
from var.errors import UserError
from var.files import write_text

KIND = "var tar index 1"
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class TarData(PictureData):
    """The images of tar files, in the order of the files and of the members in each.

    A sample is the members of one shard whose names agree up to the first dot after the last slash: an image (png, jpg,
    jpeg, webp, bmp or gif) and its label, as a whole number in a member "cls", or as "label" in a member "json". Where
    no sample has a label, all form the class "unlabelled". Class names stand in `classes.txt` beside the first shard,
    one per line in the order of the labels; without it the classes are called "0", "1", ... Members are read at random
    from where they lie, so that order, resumption and the share of every process are as with any other data, and no
    sample is lost or doubled. How a picture becomes an image is said at `PictureData`.

    Args:
        shards: the tar files, not compressed.
        index: a file that keeps where the members lie; made if absent, refreshed for shards that have changed.

    Raises `UserError`, with the shard, for files that are no whole tar files, and for samples that are not as above.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        *,
        size: int | tuple[int, int],
        channels: int = 3,
        index: Path | None = None,
        progress: bool = False,
    ):
        super().__init__(size=size, channels=channels)
        self.shards = tuple(shards)
        if not self.shards:
            raise UserError("tar data need at least one shard, got none; name a tar file")
        contents = _read_shards(self.shards, index, progress)
        counts = [len(content.names) for content in contents]
        if sum(counts) == 0:
            raise UserError(f"no images in {self.shards[0]} and the other shards; put {ACCEPTED} members there")
        self._shard = np.repeat(np.arange(len(contents), dtype=np.int32), counts)
        self._offsets = np.concatenate([np.array(content.offsets, np.int64) for content in contents])
        self._sizes = np.concatenate([np.array(content.sizes, np.int64) for content in contents])
        self._names = Names([name for content in contents for name in content.names])
        self.classes, self.labels = self._classes([label for content in contents for label in content.labels])

    def source(self, index: int) -> bytes:
        """The encoded picture at `index`."""
        path, size = self.shards[self._shard[index]], int(self._sizes[index])
        try:
            with open(path, "rb") as shard:
                shard.seek(self._offsets[index])
                content = shard.read(size)
        except OSError as error:
            raise UserError(f"{path} must be readable, but: {error.strerror}; look at the disk") from error
        if len(content) < size:
            raise BadImageError(f"{self.describe(index)} must have {size} bytes, got {len(content)}; mend the shard")
        return content

    def describe(self, index: int) -> str:
        """The path of the shard and the name of the member at `index`."""
        return f"{self.shards[self._shard[index]]}:{self._names[index]}"

    def identity(self) -> str:
        """What the fingerprint takes in: names, places and sizes of all members."""
        digest = hashlib.blake2b(self._names.content(), digest_size=16)
        for array in (self._shard, self._offsets, self._sizes):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _classes(self, labels: list[int | None]) -> tuple[tuple[str, ...], torch.Tensor]:
        bare = sum(label is None for label in labels)
        if bare == len(labels):
            return ("unlabelled",), torch.zeros(len(labels), dtype=torch.int64)
        if bare:
            name = self.describe(labels.index(None))
            raise UserError(f"{name} must have a label as other samples have, got none ({bare} such); add a member cls")
        numbers = torch.tensor(labels, dtype=torch.int64)
        listed = self.shards[0].parent / "classes.txt"
        count = int(numbers.max()) + 1
        names = listed.read_text("utf-8").splitlines() if listed.is_file() else [str(label) for label in range(count)]
        low = int(numbers.argmin())
        if numbers[low] < 0 or count > len(names):
            worst = low if numbers[low] < 0 else int(numbers.argmax())
            raise UserError(
                f"{self.describe(worst)} must have a label in [0, {len(names)}), got {int(numbers[worst])}; correct it "
                f"or name all classes in {listed}"
            )
        return tuple(names), numbers


def expand_shards(spec: str) -> list[Path]:
    """The tar files that `spec` names, with webdataset's braces: "a-{00..12}.tar" are the 13 files a-00 to a-12."""
    match = BRACES.search(spec)
    if match is None:
        return [Path(spec).expanduser()]
    first, last = match.groups()
    if int(first) > int(last):
        raise UserError(f"braces must count upwards, got {match[0]} in {spec!r}; swap the numbers")
    numbers = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return [path for number in numbers for path in expand_shards(spec[: match.start()] + number + spec[match.end() :])]


@dataclass
class _Content:
    """The images of one shard: name, place, size and label of each."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)


def _read_shards(shards: Sequence[Path], index: Path | None, progress: bool) -> list[_Content]:
    stored = stored_listing(index, KIND, "shards").get("shards", {}) if index else {}
    entries, contents = {}, []
    for path in tqdm(shards, desc="list shards", unit="shard", disable=not progress):
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path} must be a tar file, but: {error.strerror}; check the path") from error
        state, name = [status.st_size, status.st_mtime_ns], str(path.resolve())
        known = stored.get(name)
        content = _Content(*known[1]) if known and known[0] == state else _list_members(path)
        contents.append(content)
        entries[name] = [state, [content.names, content.offsets, content.sizes, content.labels]]
    if index and entries != stored:
        write_text(index, json.dumps({"kind": KIND, "shards": entries}))
    return contents


def _list_members(path: Path) -> _Content:
    """The images of the shard at `path`; raises `UserError` if it is no whole, uncompressed tar file."""
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            content = _group(path, archive, file)
            file.seek(archive.offset)
            # Where a header is damaged tarfile stops as at the end, and whatever comes after would be lost unnoticed.
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"the header at byte {archive.offset} is damaged")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{path} must be a whole tar file, not compressed, but: {error}; write it anew") from error
    return content


def _group(path: Path, archive: tarfile.TarFile, file: BinaryIO) -> _Content:
    """Images and labels with the same key, in the order of the images."""
    content, keys = _Content(), []
    labels: dict[tuple[str, str], int | None] = {}
    while (member := archive.next()) is not None:
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue] - else all headers stay in memory
        folder, slash, base = member.name.rpartition("/")
        stem, _, extension = base.lower().partition(".")
        if not member.isreg() or not stem:
            continue
        key = folder + slash + base[: len(stem)]
        if extension.endswith(tuple(suffix[1:] for suffix in SUFFIXES)):
            keys.append(key)
            content.names.append(member.name)
            content.offsets.append(member.offset_data)
            content.sizes.append(member.size)
        elif extension in ("cls", "json"):
            file.seek(member.offset_data)
            labels[key, extension] = _label(f"{path}:{member.name}", file.read(member.size), extension)
    if len(set(keys)) < len(keys):
        double = next(name for place, name in enumerate(content.names) if keys[place] in keys[:place])
        raise UserError(f"{path}:{double} must be the only image of its sample, got another; rename one")
    content.labels = [labels.get((key, "cls"), labels.get((key, "json"))) for key in keys]
    return content


def _label(name: str, content: bytes, extension: str) -> int | None:
    """The label in a member "cls" (a whole number) or "json" (its "label"; None if it has none)."""
    try:
        label = json.loads(content).get("label") if extension == "json" else content.decode()
        return None if label is None else int(label)
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{name} must hold a label, a whole number, got {content[:40]!r}; correct it") from error
