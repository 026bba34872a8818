"""Images that show a vector each, such as the embedding of a text or of a style, held in memory."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from var.conditions import Condition
from var.data.bad_images import SkipBadImages
from var.data.base import ImageData, WrappedData, layers_of
from var.data.loading import load_framed, load_images
from var.data.pictures import Framing
from var.errors import UserError
from var.sampling.vectors import resolve_vectors, shape_of


class WithVectors(WrappedData):
    """The images of `data`, where the one at an index shows the row of `vectors` there, (n, width), beside its class.

    With `labels` False it shows the vector alone; its class stays known to those who judge.

    Raises `UserError` for vectors of another number or that are not finite, and for `data` in which images stand for
    others, whose vectors would be those of the images that they replace: wrap these data in `SkipBadImages` instead.
    """

    def __init__(self, data: ImageData, vectors: np.ndarray | Tensor | Sequence[Any], *, labels: bool = True):
        super().__init__(data)
        if any(isinstance(layer, SkipBadImages) for layer in layers_of(data)):
            raise UserError("vectors must belong to the images that are loaded, got SkipBadImages; wrap it around them")
        shape = shape_of(vectors)
        if len(shape) != 2 or shape[0] != len(data) or not shape[1]:
            raise UserError(f"vectors must be one for each image, ({len(data)}, width), got shape {shape}; match them")
        self.vectors: Float[Tensor, "n width"] = resolve_vectors(vectors, len(data), shape[1]).cpu()
        self._labels_shown = labels

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
        condition = replace(super().condition(indices), vectors=self.vectors.index_select(0, indices))
        return condition if self._labels_shown else replace(condition, labels=None)

    def identity(self) -> str:
        """What the fingerprint takes in besides that of the images: a hash of all vectors."""
        digest = hashlib.blake2b(self.vectors.numpy().tobytes(), digest_size=16).hexdigest()
        return f"vectors {tuple(self.vectors.shape)} {digest} {'and' if self._labels_shown else 'without'} labels"
