"""Going on in spite of a few images that cannot be read: each is replaced, counted and named."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from var.conditions import Condition
from var.data.base import Captions, ImageData, WrappedData
from var.data.loading import load_framed
from var.data.pictures import Framing
from var.errors import UserError
from var.foreign.pictures import BadImageError
from var.randomness import keyed_generator

LEAST_LIMIT = 10
LARGEST_SHARE = 0.01
LISTED = 10
"""How many images a message names."""


class SkipBadImages(WrappedData):
    """`data`, where another image of the same class stands for one that is bad.

    Which one depends on the index only, so that batches are the same in every process and after a resumption. Bad are
    images that raise `BadImageError`, by themselves or, where there are captions, by theirs; a disk that fails is not
    passed over. `skipped` lists what this process and its workers have met, index to reason; more than `limit`, the
    larger of 10 and 1 % of the images, raise `UserError`, and so does a class without any good image.
    """

    def __init__(self, data: ImageData):
        super().__init__(data)
        self.limit = max(LEAST_LIMIT, int(LARGEST_SHARE * len(data)))
        self.skipped: dict[int, str] = {}
        self._news: dict[int, str] = {}
        self._stand_ins: dict[int, int] = {}
        self._good = bytearray(len(data))  # 1 for an image that was loaded, and for which no other stands

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`, or the one that stands for it."""
        return self._first_good(index, self.data.load)

    def load_framed(self, index: int, framing: Framing, generator: Generator) -> Float[Tensor, "c h w"]:
        """Like `load`, with the part of the picture that `framing` chooses."""
        return self._first_good(index, lambda place: load_framed(self.data, place, framing, generator))

    def condition(self, indices: Int64[Tensor, " batch"]) -> Condition:
        """What the images that `load` gives at `indices` show; what was not loaded yet is, where a class is not all."""
        if getattr(self.data, "condition", None) is None:  # a label, which is that of what stands for an image too
            return super().condition(indices)
        shown = [self._loaded(index) for index in indices.tolist()]
        return super().condition(torch.tensor(shown, dtype=torch.int64))

    @property
    def captions(self) -> Captions | None:
        """The texts of what `load` gives: asking for one loads the image, to see whether another stands for it."""
        captions = getattr(self.data, "captions", None)
        return None if captions is None else Captions(len(self), lambda index: captions[self._loaded(index)])

    def _loaded(self, index: int) -> int:
        """The place of the image that `load` gives."""
        if not self._good[index] and index not in self._stand_ins:
            self.load(index)
        return self._stand_ins.get(index, index)

    def describe(self, index: int) -> str:
        """What the data call the image at `index`, and the one that stands for it if that is known here."""
        name = self.data.describe(index)
        if index not in self._stand_ins:
            return name
        return f"{name} (bad; {self.data.describe(self._stand_ins[index])} stands for it)"

    def note(self, found: Mapping[int, str]) -> None:
        """Take bad images (index to reason) into the list; raises `UserError` if they are too many by now."""
        self._news |= {index: reason for index, reason in found.items() if index not in self.skipped}
        self.skipped |= found
        if len(self.skipped) > self.limit:
            raise UserError(
                f"at most {self.limit} of {len(self)} images may be bad, got {len(self.skipped)} so far: "
                f"{_named(self.skipped)}; repair the data"
            )

    def news(self) -> dict[int, str]:
        """The bad images that were found since the last call."""
        news, self._news = self._news, {}
        return news

    def _first_good(self, index: int, load: Callable[[int], Tensor]) -> Tensor:
        if index in self._stand_ins:
            return load(self._stand_ins[index])
        try:
            return self._load_whole(index, load)
        except BadImageError as error:
            self.note({index: str(error)})
        members = (self.labels == self.labels[index]).nonzero().flatten()
        order = torch.randperm(len(members), generator=keyed_generator("stand-in", index))
        for place in members[order].tolist():
            if place in self.skipped:
                continue
            try:
                image = self._load_whole(place, load)
            except BadImageError as error:
                self.note({place: str(error)})
                continue
            self._stand_ins[index] = place
            return image
        name = self.classes[int(self.labels[index])]
        raise UserError(
            f"the class {name!r} must have a good image to stand for its bad ones, got none: {_named(self.skipped)}; "
            "repair the data or remove the class"
        )

    def _load_whole(self, index: int, load: Callable[[int], Tensor]) -> Tensor:
        """The image at `index`; raises `BadImageError` if it, or its caption, is bad."""
        captions = None if self._good[index] else getattr(self.data, "captions", None)
        if captions is not None:
            captions[index]
        image = load(index)
        self._good[index] = 1
        return image


Gather = Callable[[dict[int, str]], list[dict[int, str]]]


def skipped_summary(data: ImageData | WrappedData, gather: Gather | None = None) -> str | None:
    """One line about the images of `data` that were skipped in this process; None if there were none.

    `gather` gives the value of every process for that of this one; then the line is about all of them.
    """
    while isinstance(data, WrappedData) and not isinstance(data, SkipBadImages):
        data = data.data
    skipped = data.skipped if isinstance(data, SkipBadImages) else {}
    if gather is not None:
        skipped = {index: reason for some in gather(skipped) for index, reason in some.items()}
    if not skipped:
        return None
    return f"{len(skipped)} of {len(data)} images were bad and replaced by others of their class: {_named(skipped)}"


def _named(skipped: Mapping[int, str]) -> str:
    reasons = [skipped[index] for index in sorted(skipped)[:LISTED]]
    more = f" | and {len(skipped) - LISTED} more" if len(skipped) > LISTED else ""
    return " | ".join(reasons) + more
