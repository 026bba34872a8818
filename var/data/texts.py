"""Images that show their captions, as an encoder reads them: each text is encoded once, and kept on disk."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm.auto import tqdm

from var.data.bad_images import SkipBadImages
from var.data.base import Captions, ImageData, WrappedData
from var.data.vectors import WithVectors
from var.errors import UserError
from var.files import atomic_file, make_folder, set_aside, sweep
from var.foreign.documents import parse_json
from var.foreign.pictures import BadImageError
from var.foreign.weights import opened_tensors, save_tensors
from var.text import TextEncoder, TextFeatures
from var.text.encoders import PIECES, features_of
from var.weights import add_to_digest

logger = logging.getLogger(__name__)

PART = 512
"""Texts in a file, which is what an interruption costs at most."""


def with_texts(
    data: ImageData,
    encoder: TextEncoder,
    *,
    labels: bool = True,
    sequences: bool = False,
    folder: Path | None = None,
    progress: bool = True,
    rank: int = 0,
    world_size: int = 1,
    wait: Callable[[], None] = lambda: None,
) -> ImageData:
    """The images of `data`, each of which shows the vector that `encoder` makes of its caption, beside its class.

    With `labels` False it shows the vector alone; with `sequences`, also what `TextFeatures.attended` gives. In the
    `folder` the features are kept, for these texts and this encoder; of several processes, each with its `rank`, every
    one encodes its share, and `wait` returns when all have done so. Where bad images are skipped, those with a bad
    caption are. Raises `UserError` for data without captions.
    """
    plain: Any = data.data if isinstance(data, SkipBadImages) else data
    check_captions(plain, type(plain).__name__)
    captions, skip = ReadableCaptions(plain, encoder), plain is not data
    texts, rows = different(captions, skip=skip)
    how = {"progress": progress, "rank": rank, "world_size": world_size, "wait": wait}
    read = encoded(texts, encoder, folder, sequences=sequences, **how)
    parts = {"sequence": read.sequence, "sequence_mask": read.mask}
    shown = WithVectors(plain, read.vectors, rows=rows, captions=captions, labels=labels, **parts)
    return SkipBadImages(shown) if skip else shown


class ReadableCaptions(Captions):
    """The captions of `data`, where one that `encoder` cannot read is a `BadImageError`, if the encoder tells such."""

    def __init__(self, data: ImageData, encoder: TextEncoder):
        super().__init__(len(data), self._read)
        self._data, self._check = data, getattr(encoder, "check", None)

    def _read(self, index: int) -> str:
        text = getattr(self._data, "captions", ())[index]
        try:
            if self._check:
                self._check(text)
        except UserError as error:
            raise BadImageError(f"the caption of {self._data.describe(index)} cannot be read: {error}") from error
        return text


def check_captions(data: ImageData | WrappedData, name: str) -> None:
    """Raise `UserError` for data called `name` without captions."""
    if getattr(data, "captions", None) is None:
        raise UserError(
            f"images that show a text must have captions, got none in {name}; write NAME.txt beside each NAME.png, a "
            "metadata.jsonl, or members txt of shards, or name the column of captions"
        )


def different_captions(data: ImageData | WrappedData) -> tuple[list[str], Int64[Tensor, " n"]]:
    """The captions of `data`, each of them once, and the place among these of each image's.

    Raises `UserError` for data without captions, and `BadImageError` for a bad one.
    """
    check_captions(data, type(data).__name__)
    return different(getattr(data, "captions", ()))


def different(captions: Sequence[Any], *, skip: bool = False) -> tuple[list[str], Int64[Tensor, " n"]]:
    """Each of the `captions` once, and the place among these of each image's.

    A bad one is a `BadImageError`, or with `skip` passed over: another image stands for its own. Raises `UserError` if
    all are bad.
    """
    places: dict[str, int] = {}
    bad: BadImageError | None = None
    rows = torch.zeros(len(captions), dtype=torch.int64)
    for index in range(len(captions)):
        try:
            rows[index] = places.setdefault(captions[index], len(places))
        except BadImageError as error:
            if not skip:
                raise
            bad = error
    if not places:
        raise UserError(f"images must have good captions, got none: {bad}; repair the data") from bad
    return list(places), rows


def encoded(
    texts: Sequence[str],
    encoder: TextEncoder,
    folder: Path | None = None,
    *,
    sequences: bool = False,
    progress: bool = True,
    rank: int = 0,
    world_size: int = 1,
    wait: Callable[[], None] = lambda: None,
) -> TextFeatures:
    """The features of `texts`, in the files of `folder` or, where they are not there yet, made and kept there.

    A file holds those of `PART` texts, whole or not at all, and has its name of them and of the encoder: others are not
    read. Arguments as for `with_texts`.
    """
    parts = [texts[start : start + PART] for start in range(0, len(texts), PART)]
    if folder is None:
        return TextFeatures.joined([features_of(part, encoder, sequences=sequences) for part in parts])
    files = [_PartFile(make_folder(folder), part, encoder, sequences) for part in parts]
    missing = [file for file in files[rank::world_size] if not file.is_whole()]
    total = sum(len(file.texts) for file in missing)
    with tqdm(total=total, desc="texts", disable=not progress or not total) as bar:
        for file in missing:
            file.save(features_of(file.texts, encoder, sequences=sequences))
            bar.update(len(file.texts))
    wait()
    sweep(folder)
    return TextFeatures.joined([file.load() for file in files])


class _PartFile:
    """The features of some texts on disk."""

    def __init__(self, folder: Path, texts: Sequence[str], encoder: TextEncoder, sequences: bool) -> None:
        self.texts, self.encoder, self.sequences = texts, encoder, sequences
        about = json.dumps([encoder.digest, sequences and PIECES, *texts])
        self.key = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
        self.path = folder / f"{encoder.digest[:16]}-{self.key}.safetensors"

    def is_whole(self) -> bool:
        """Whether the file is there and as it was written; a damaged one is set aside, with a warning."""
        if not os.path.lexists(self.path):
            return False
        try:
            self.load()
        except UserError as error:
            logger.warning("%s; it is kept as %s, and its texts are encoded again", error, set_aside(self.path))
            return False
        return True

    def save(self, features: TextFeatures) -> None:
        """Write the features, whole or not at all."""
        found = {"vectors": features.vectors, "sequence": features.sequence, "mask": features.mask}
        tensors = {name: tensor for name, tensor in found.items() if tensor is not None}
        with atomic_file(self.path) as temporary:
            save_tensors(temporary, tensors, {"texts": json.dumps({"key": self.key, "digest": _digest(tensors)})})

    def load(self) -> TextFeatures:
        """The features; raises `UserError` for a file that does not hold them as they were written."""
        with opened_tensors(self.path) as file:
            about = parse_json(file.metadata().get("texts", "{}"), self.path)
            tensors = {name: file.load(name) for name in file.kinds()}
        names = {"vectors", "sequence", "mask"} if self.sequences else {"vectors"}
        if tensors.keys() != names or about != {"key": self.key, "digest": _digest(tensors)}:
            raise UserError(f"{self.path} must hold the features of texts that were written, got others; delete it")
        return TextFeatures(**tensors)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    add_to_digest(digest.update, sorted(tensors.items()))
    return digest.hexdigest()
