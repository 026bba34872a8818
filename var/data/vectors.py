"""Images that show a vector or a sequence each, such as the embedding of a text or of a style, held in memory."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from var.conditions import Condition
from var.data.bad_images import SkipBadImages
from var.data.base import ImageData, WrappedData, layers_of
from var.data.loading import load_framed, load_images
from var.data.pictures import Framing
from var.errors import UserError
from var.sampling.vectors import Vectors, resolve_sequence, resolve_vectors, shape_of


class WithVectors(WrappedData):
    """The images of `data`, where the one at an index shows the row of `vectors` there, (n, width), beside its class.

    Or, beside or instead of vectors (None), the row of `sequence`, (n, length, width) in any floating-point type, where
    `sequence_mask`, (n, length), is True; what is padding in all rows is left out. With `rows` the image at an index
    shows the row of this number, so that what several show is held once. With `labels` False it shows no class; that
    stays known to those who judge. The `captions` are those of the data, unless there are others.

    Raises `UserError` for vectors or sequences of another number or that are not finite, and for `data` in which images
    stand for others, whose vectors would be those of the images that they replace: wrap these data in `SkipBadImages`
    instead.
    """

    vectors: Float[Tensor, "n width"] | None = None
    sequence: Float[Tensor, "n length sequence_width"] | None = None
    sequence_mask: Bool[Tensor, "n length"] | None = None

    def __init__(
        self,
        data: ImageData,
        vectors: Vectors,
        *,
        sequence: np.ndarray | Tensor | None = None,
        sequence_mask: np.ndarray | Tensor | None = None,
        rows: Int64[Tensor, " n"] | None = None,
        captions: Sequence[Any] | None = None,  # of str
        labels: bool = True,
    ):
        super().__init__(data)
        self.rows, self._labels_shown, self._captions = rows, labels, captions
        assert rows is None or len(rows) == len(data)
        count = len(data) if rows is None else 1 + int(rows.max())
        if any(isinstance(layer, SkipBadImages) for layer in layers_of(data)):
            raise UserError("vectors must belong to the images that are loaded, got SkipBadImages; wrap it around them")
        if vectors is None and sequence is None:
            raise UserError("images must show vectors or a sequence, got neither; pass the data as they are")
        if vectors is not None:
            self.vectors = _one_each(vectors, count)
        if sequence is not None:
            self.sequence, self.sequence_mask = _without_padding(*resolve_sequence(sequence, sequence_mask, count))

    @property
    def captions(self) -> Sequence[Any] | None:  # as above
        """What each image shows, in words."""
        return super().captions if self._captions is None else self._captions

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`."""
        return self.data.load(index)

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
        """The images at `indices`."""
        return load_images(self.data, indices)

    def load_framed(self, index: int, framing: Framing, generator: Generator) -> Float[Tensor, "c h w"]:
        """Like `load`, with the part of the picture that `framing` chooses."""
        return load_framed(self.data, index, framing, generator)

    def condition(self, indices: Int64[Tensor, " batch"]) -> Condition:
        """What the images at `indices` show."""
        mine = {"vectors": self.vectors, "sequence": self.sequence, "sequence_mask": self.sequence_mask}
        rows = indices if self.rows is None else self.rows[indices]
        shown = {name: part.index_select(0, rows) for name, part in mine.items() if part is not None}
        condition = replace(super().condition(indices), **shown)
        return condition if self._labels_shown else replace(condition, labels=None)

    def identity(self) -> str:
        """What the fingerprint takes in besides that of the images: hashes of all vectors and sequences."""
        mine = {"vectors": self.vectors, "sequence": self.sequence, "mask": self.sequence_mask, "rows": self.rows}
        told = (f"{name} {tuple(part.shape)} {_digest(part)} " for name, part in mine.items() if part is not None)
        return f"{''.join(told)}{'and' if self._labels_shown else 'without'} labels"


def _one_each(vectors: Vectors, count: int) -> Float[Tensor, "n width"]:
    shape = shape_of(vectors)
    if len(shape) != 2 or shape[0] != count or not shape[1]:
        raise UserError(f"vectors must be one for each image, ({count}, width), got shape {shape}; match them")
    return resolve_vectors(vectors, count, shape[1]).cpu()


def _without_padding(sequence: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Sequences on the host, and their mask, as far as one of them is no padding."""
    if mask is None:
        return sequence.cpu(), None
    longest = max((mask.any(dim=0).nonzero() + 1).flatten().tolist(), default=0)
    return sequence[:, :longest].cpu(), mask[:, :longest].cpu()


def _digest(tensor: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for rows in tensor.split(1000):  # which may lie on a disk
        digest.update(rows.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
