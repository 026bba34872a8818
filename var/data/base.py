"""What every set of images can do, and what some can do besides."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.errors import UserError, listed


class ImageData(Protocol):
    """Labelled images of one shape, with random access. Implementations must survive pickling for worker processes.

    They may also have `load_many(indices)`, bit for bit what `load` gives, in memory of its own; `load_framed(index,
    framing, generator)`, `load` with the part of a larger picture that a `Framing` chooses; `condition(indices)`, what
    images show besides labels; `identity()`, a text for the `fingerprint`; `notes`, lines about what of their source is
    left out; and `places`, the folders and files that they are read from.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a label indexes them."""
        ...

    @property
    def labels(self) -> Int64[Tensor, " length"]:
        """The label of each image, in [0, number of classes)."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        ...

    def __len__(self) -> int: ...

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`, float32 in [-1, 1]; raises `UserError` if it cannot be read."""
        ...

    def describe(self, index: int) -> str:
        """What a message calls the image at `index`: its path, or its place as in "shapes[12]"."""
        ...


class WrappedData:
    """The images of other data, given in another way."""

    def __init__(self, data: ImageData):
        self.data = data
        self.classes, self.labels, self.shape = data.classes, data.labels, data.shape

    def __len__(self) -> int:
        return len(self.data)

    def condition(self, indices: Int64[Tensor, " batch"]) -> Condition:
        """What the images at `indices` show."""
        return conditions_at(self.data, indices)

    def describe(self, index: int) -> str:
        """What the data call the image at `index`."""
        return self.data.describe(index)


class Relabelled(WrappedData):
    """The images of `data` with the labels that their classes have among `classes`.

    Raises `UserError`, with the `name` of the data, for a class that is none of them.
    """

    def __init__(self, data: ImageData, classes: Sequence[str], name: str):
        super().__init__(data)
        places = {name: place for place, name in enumerate(classes)}
        if strangers := [each for each in data.classes if each not in places]:
            raise UserError(
                f"{name} must have the classes of the training images, {listed(classes, 5)}, got "
                f"{listed(strangers, 5)}; rename them"
            )
        self.classes = tuple(classes)
        self.labels = torch.tensor([places[each] for each in data.classes])[data.labels]

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`."""
        return self.data.load(index)

    def condition(self, indices: Int64[Tensor, " batch"]) -> Condition:
        """What the images at `indices` show, their classes by the new labels."""
        return replace(super().condition(indices), labels=self.labels.index_select(0, indices))


def conditions_at(data: ImageData | WrappedData, indices: Int64[Tensor, " batch"]) -> Condition:
    """What the images at `indices` show: what `data` say by their own `condition(indices)`, else their labels."""
    own = getattr(data, "condition", None)
    return own(indices) if own else Condition.of(data.labels.index_select(0, indices))


def notes_of(data: ImageData | WrappedData) -> tuple[str, ...]:
    """Lines about what is left out of `data`, and what else their user should know."""
    return getattr(unwrapped(data), "notes", ())


def unwrapped(data: ImageData | WrappedData) -> ImageData:
    """The data themselves, however often they are wrapped."""
    while isinstance(data, WrappedData):
        data = data.data
    return data


def fingerprint(data: ImageData | WrappedData) -> str:
    """32 hex digits that name what `data` hold: class names, labels, shape, and what the data add by `identity()`.

    It says whether something made from the data, such as a cache of tokens, still belongs to them. Files are known by
    their names (and, where it costs little, sizes), not by their content; wrapped data by what is in them.
    """
    data = unwrapped(data)
    identity = getattr(data, "identity", None)
    plain = [type(data).__name__, data.classes, data.shape, len(data), identity() if identity else ""]
    digest = hashlib.blake2b(json.dumps(plain).encode(), digest_size=16)
    digest.update(data.labels.numpy().tobytes())
    return digest.hexdigest()


class WithoutImages(WrappedData):
    """The labels and indices of `data`; images of no pixels stand for its images.

    For training on a cache of tokens: nothing is decoded.
    """

    def __init__(self, data: ImageData):
        super().__init__(data)
        self.shape = (data.shape[0], 0, 0)

    def load(self, index: int) -> Float[Tensor, "channels 0 0"]:
        """An image of no pixels."""
        return torch.empty(self.shape)

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch channels 0 0"]:
        """Images of no pixels."""
        return torch.empty(len(indices), *self.shape)


def without_images(data: ImageData) -> WithoutImages:
    """`data` with labels and indices only, for training on a cache of its tokens; see `WithoutImages`."""
    return WithoutImages(data)
