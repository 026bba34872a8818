"""Which samples lie in tar shards, and where: listed once, and stored if asked for."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from var.data.captions import has_caption
from var.data.entries import LABEL, LEFT, OTHER, PICTURE, LeftOut, file_kind, lies_left_out
from var.data.listing import stored_listing
from var.data.whole_numbers import UnreadableError, json_of_sample, label_in_json, label_in_text
from var.errors import UserError
from var.files import write_text
from var.foreign.pictures import SUFFIXES
from var.foreign.tar import Member, Tar, opened_tar

KIND = "var tar index 1"
TEXT_MEMBERS = ("", "txt", "json")
"""Extensions of members that hold a caption, after the word for none."""
MOST_LABEL = 2**20
"""Bytes of a member that holds a label."""


@dataclass
class ShardContent:
    """The images of one shard: name, place, size, label and caption of each, and what is no image."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    texts: list[list[int]] = field(default_factory=list)  # offset, size and kind, or empty; no list at all if all are
    left_out: LeftOut = field(default_factory=LeftOut)

    def stored(self, state: list[int]) -> list[Any]:
        """As the index keeps it, of a file in this `state`."""
        return [state, [self.names, self.offsets, self.sizes, self.labels, self.texts], self.left_out.stored()]

    def places_of_texts(self) -> Iterator[tuple[int, ...]]:
        """Offset, size and kind of the caption of each image."""
        return (tuple(text) or (0, 0, 0) for text in self.texts or [[]] * len(self.names))


def read_shards(shards: Sequence[Path], index: Path | None, progress: bool) -> list[ShardContent]:
    """What lies in each shard, from the stored `index` where it is still right; errors as for `TarData`."""
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


def _known(entry: Any, state: list[int]) -> ShardContent | None:
    """What an index knows of a shard, if it is the same still and the entry is one that this version writes."""
    if not isinstance(entry, list) or len(entry) != 3 or entry[0] != state:
        return None
    columns, left_out = entry[1], LeftOut.read(entry[2])
    if left_out is None or not isinstance(columns, list) or [type(column) for column in columns] != [list] * 5:
        return None  # of older versions too, which had no texts
    names, offsets, sizes, labels, texts = columns
    if not len(names) == len(offsets) == len(sizes) == len(labels) or not all(type(name) is str for name in names):
        return None
    if not all(
        type(o) is int and type(s) is int and 0 <= o <= o + s <= state[0] for o, s in zip(offsets, sizes, strict=True)
    ):
        return None
    if not all(label is None or (type(label) is int and abs(label) < 2**63) for label in labels):
        return None
    if texts and (len(texts) != len(names) or not all(_is_text(text, state[0]) for text in texts)):
        return None
    return ShardContent(names, offsets, sizes, labels, texts, left_out)


def _is_text(value: Any, end: int) -> bool:
    """Whether a value may be the place of a caption in a file that ends at `end`."""
    if value == [] and isinstance(value, list):
        return True
    if not isinstance(value, list) or [type(part) for part in value] != [int] * 3:
        return False
    offset, size, kind = value
    return 0 <= offset <= offset + size <= end and 1 <= kind < len(TEXT_MEMBERS)


def _list_members(path: Path) -> ShardContent:
    """The images of the shard at `path`; raises `UserError` if it is no whole, uncompressed tar file."""
    with opened_tar(path) as archive:
        return _group(path, archive)


def _group(path: Path, archive: Tar) -> ShardContent:
    """Images, labels and captions with the same key, in the order of the images."""
    content, keys, seen = ShardContent(), [], set()
    labels: dict[tuple[str, str], int | None] = {}
    texts: dict[tuple[str, str], Member] = {}
    unreadable: list[UnreadableError] = []
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
        elif (extension := extension.lower()) in ("cls", "json", "txt"):
            _check_file(path, member)
            try:
                _take(path, archive, member, (key, extension), labels, texts)
            except UnreadableError as error:  # a label that is missing, or else a caption: the others tell
                unreadable.append(error)
                texts[key, extension] = member
        elif (kind := file_kind(member.name)) == PICTURE:  # others may belong to a sample
            content.left_out.add(kind, member.name)
    if unreadable and any(label is not None for (_, extension), label in labels.items() if extension == "json"):
        raise unreadable[0]
    content.labels = [labels.get((key, "cls"), labels.get((key, "json"))) for key in keys]
    content.texts = [_text(texts.get((key, "txt")) or texts.get((key, "json"))) for key in keys]
    content.texts = content.texts if any(content.texts) else []
    for (key, extension), member in texts.items():
        if extension == "txt" and key not in seen:
            content.left_out.add(OTHER, member.name)
    for key in {key for (key, _), label in labels.items() if label is not None} - seen:
        content.left_out.add(LABEL, key)
    return content


def _take(
    path: Path,
    archive: Tar,
    member: Member,
    place: tuple[str, str],
    labels: dict[tuple[str, str], int | None],
    texts: dict[tuple[str, str], Member],
) -> None:
    """Take a member that goes with an image, called by its key and extension, into the labels or the texts, or both."""
    name, extension = f"{path}:{member.name}", place[1]
    if place in texts:
        raise UserError(f"{name} must be the only caption of its sample, got another {extension}; remove one")
    if extension == "txt":
        texts[place] = member
        return
    if place in labels:
        raise UserError(f"{name} must come once in its sample, got it twice; drop one")
    content = archive.content(member, MOST_LABEL)
    if extension == "cls":
        labels[place] = label_in_text(content, name)
        return
    values = json_of_sample(content, name)
    labels[place] = label_in_json(values, name)
    if has_caption(values):
        texts[place] = member


def _text(member: Member | None) -> list[int]:
    if member is None:
        return []
    kind = "json" if member.name.lower().endswith(".json") else "txt"
    return [member.offset, member.size, TEXT_MEMBERS.index(kind)]


def _check_file(path: Path, member: Member) -> None:
    if member.kind != "file":
        raise UserError(
            f"{path}:{member.name} must be a regular file in the shard, got a {member.kind}; write the shard anew with "
            "the files themselves"
        )
