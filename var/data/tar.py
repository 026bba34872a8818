"""Images in tar shards, in webdataset's layout, read where they lie: random access without unpacking."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import torch

from var.data.base import Captions, sampled_places
from var.data.captions import caption_in_json, caption_in_text, no_caption
from var.data.class_names import checked_names, numbered_names
from var.data.entries import LeftOut
from var.data.image_size import Size
from var.data.listing import Names
from var.data.pictures import PictureData
from var.data.tar_listing import MOST_LABEL, TEXT_MEMBERS, ShardContent, read_shards
from var.errors import UserError
from var.foreign.pictures import ACCEPTED, BadImageError
from var.foreign.regular import read_text
from var.foreign.tar import read_part
from var.names import shown
from var.paths import expanded


class TarData(PictureData):
    """The images of tar files, in the order of the files and of the members in each.

    A sample is the members of one shard whose names agree up to the first dot after the last slash: an image (png, jpg,
    jpeg, webp, bmp or gif) and its label, as a whole number in a member "cls", or as "label" in a member "json". Where
    no sample has a label, all form the class "unlabelled". Class names stand in `classes.txt` beside the first shard,
    one per line in the order of the labels; without it the classes are called "0", "1", ... Members are read at random
    from where they lie, so that order, resumption and the share of every process are as with any other data, and no
    sample is lost or doubled: archives that were joined to one file are all read. How a picture becomes an image is
    said at `PictureData`; `notes` counts the members that are no part of a sample.

    `captions` are the members "txt" of the samples, or else "text" or "caption" in the members "json", read when they
    are asked for; None where no sample has one. Otherwise all is as with `FolderData`.

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
        captions: bool = False,
        index: Path | None = None,
        progress: bool = False,
    ):
        super().__init__(size=size, channels=channels)
        self.shards = _distinct([shards] if isinstance(shards, (str, Path)) else shards)
        self.places = self.shards
        contents = read_shards(self.shards, index, progress)
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
        self.captions = None
        if captions:
            self._read_captions(contents, source)

    def _read_captions(self, contents: Sequence[ShardContent], source: str) -> None:
        texts = np.array([text for content in contents for text in content.places_of_texts()], np.int64)
        bare = np.flatnonzero(texts[:, 2] == 0)
        self.captions = None if len(bare) == len(texts) else TarCaptions(self.shards, self._shard, texts, self.describe)
        if self.captions and len(bare):
            some = f"{len(bare)} of {len(texts)} images have no caption (as {self.describe(int(bare[0]))})"
            self.notes += (f"{source}: {some}",)

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
        if self.captions:
            digest.update(self.captions.identity().encode())
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


class TarCaptions(Captions):
    """The captions of samples, read from where their members lie in the shards when they are asked for.

    `texts` has for each sample the offset and the size of a member, and its kind, a place in `TEXT_MEMBERS`.
    """

    def __init__(
        self, shards: Sequence[Path], shard: np.ndarray, texts: np.ndarray, describe: Callable[[int], str]
    ) -> None:
        super().__init__(len(texts), self._read)
        self._shards, self._shard, self._texts, self._describe = shards, shard, texts, describe

    def _read(self, index: int) -> str:
        kind = TEXT_MEMBERS[self._texts[index, 2]]
        if not kind:
            raise no_caption(self._describe(index), "add a member txt to the sample")
        name = f"{self._describe(index)}, its {kind}"
        return (caption_in_json if kind == "json" else caption_in_text)(self._content(index, name), name)

    def identity(self) -> str:
        """What a fingerprint takes in: where all members lie, and the content of a thousand."""
        digest = hashlib.blake2b(self._texts.tobytes(), digest_size=16)
        for place in sampled_places(len(self)):
            try:
                digest.update(self._content(place, "") + b"\n")
            except BadImageError:
                digest.update(b"\0")
        return digest.hexdigest()

    def _content(self, index: int, name: str) -> bytes:
        offset, size, _ = self._texts[index].tolist()
        if size > MOST_LABEL:
            raise BadImageError(f"{name} must have at most {MOST_LABEL} bytes, got {size}; shorten it")
        content = read_part(self._shards[self._shard[index]], offset, size)
        if len(content) < size:
            raise BadImageError(f"{name} must have {size} bytes, got {len(content)}; mend the shard")
        return content


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
