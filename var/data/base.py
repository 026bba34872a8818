"""What every set of images can do, and what some can do besides."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, overload

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.errors import UserError, listed
from var.randomness import keyed_seed
from var.terms import Terms

SAMPLED = 1000
"""Files that a fingerprint looks at."""


class ImageData(Protocol):
    """Labelled images of one shape, with random access. Implementations must survive pickling for worker processes.

    They may also have `load_many(indices)`, bit for bit what `load` gives, in memory of its own; `load_framed(index,
    framing, generator)`, `load` with the part of a larger picture that a `Framing` chooses; `condition(indices)`, what
    images show besides labels; `identity()`, a text for the `fingerprint`; `notes`, lines about what of their source is
    left out; `places`, the folders and files that they are read from; `captions`, a sequence of one text in words for
    each image, a line without white space around it, which raises `BadImageError` where there is none to be had;
    `attributes()`, what captions are made of, as lists of a word for each image by the names of the attributes, and
    `words_in(caption)`, the words that a caption asks for by these names, None for a text that is none of theirs; and
    `licence` and `attribution`, the terms of the images and what their makers ask to be said, which whatever is made
    from them must carry. Absent, or None, is what is not known.
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
    """The images of other data, given in another way.

    A kind that adds to what they are has an `identity()` of its own, which the `fingerprint` takes in besides theirs.
    """

    def __init__(self, data: ImageData):
        self.data = data
        self.classes, self.labels, self.shape = data.classes, data.labels, data.shape

    def __len__(self) -> int:
        return len(self.data)

    def condition(self, indices: Int64[Tensor, " batch"]) -> Condition:
        """What the images at `indices` show."""
        return conditions_at(self.data, indices)

    @property
    def captions(self) -> Sequence[Any] | None:  # of str; said so, a check of types would read one, whichever
        """What each image shows, in words."""
        return getattr(self.data, "captions", None)

    @property
    def licence(self) -> str | None:
        """The terms of the images."""
        return Terms.of(self.data).licence

    @property
    def attribution(self) -> str | None:
        """What the makers of the images ask to be said."""
        return Terms.of(self.data).attribution

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
        condition = super().condition(indices)
        labels = None if condition.labels is None else self.labels.index_select(0, indices)
        return replace(condition, labels=labels)


class Captions(Sequence[Any]):  # as above
    """One text for each of `length` images, made by `caption(index)` when it is asked for."""

    def __init__(self, length: int, caption: Callable[[int], str]):
        self._length, self._caption = length, caption

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """The text of one image, or of several."""
        places = range(self._length)[index]
        return self._caption(places) if isinstance(places, int) else [self._caption(place) for place in places]


def conditions_at(data: ImageData | WrappedData, indices: Int64[Tensor, " batch"]) -> Condition:
    """What the images at `indices` show: what `data` say by their own `condition(indices)`, else their labels."""
    own = getattr(data, "condition", None)
    return own(indices) if own else Condition.of(data.labels.index_select(0, indices))


class ConditionSize(NamedTuple):
    """What models are told, by the names that their configs have for it; 0 for what is not shown."""

    num_classes: int
    vector_width: int
    sequence_width: int


def condition_size(data: ImageData | WrappedData) -> ConditionSize:
    """What models of `data` are told."""
    first = conditions_at(data, torch.tensor([0]))
    classes = 0 if first.labels is None else len(data.classes)
    return ConditionSize(classes, *(0 if part is None else part.shape[-1] for part in (first.vectors, first.sequence)))


def notes_of(data: ImageData | WrappedData) -> tuple[str, ...]:
    """Lines about what is left out of `data`, and what else their user should know."""
    return getattr(unwrapped(data), "notes", ())


def layers_of(data: ImageData | WrappedData) -> Iterator[ImageData | WrappedData]:
    """The data as they are given, and within them those that are wrapped, down to the data themselves."""
    yield data
    while isinstance(data, WrappedData):
        yield (data := data.data)


def unwrapped(data: ImageData | WrappedData) -> ImageData:
    """The data themselves, however often they are wrapped."""
    *_, innermost = layers_of(data)
    assert not isinstance(innermost, WrappedData)
    return innermost


def fingerprint(data: ImageData | WrappedData) -> str:
    """32 hex digits that name what `data` hold: class names, labels, shape, and what the data add by `identity()`.

    It says whether something made from the data, such as a cache of tokens, still belongs to them. Files are known by
    their names (and, where it costs little, sizes), not by their content; wrapped data by what is in them, and by what
    the wrapping adds.
    """
    *wrappings, data = layers_of(data)
    identity = getattr(data, "identity", None)
    plain = [type(data).__name__, data.classes, data.shape, len(data), identity() if identity else ""]
    digest = hashlib.blake2b(json.dumps(plain).encode(), digest_size=16)
    digest.update(data.labels.numpy().tobytes())
    for identity in (getattr(each, "identity", None) for each in reversed(wrappings)):
        digest.update(identity().encode() if identity else b"")
    return digest.hexdigest()


def sampled_places(length: int) -> Sequence[int]:
    """The places of a thousand of `length` files, always the same, or of all if there are no more."""
    if length <= SAMPLED:
        return range(length)
    return sorted({keyed_seed("sizes", draw) % length for draw in range(SAMPLED)})


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
