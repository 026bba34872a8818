"""The images of a comparison: what is trained on, chosen by and judged by, whatever data they are of."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from var.conditions import Condition
from var.data.base import Captions, ImageData, Relabelled, WrappedData, condition_size, conditions_at, fingerprint
from var.data.catalog import open_data
from var.data.loading import load_images
from var.data.splits import MissingSplitError
from var.data.texts import check_captions, different_captions
from var.errors import UserError
from var.images import to_uint8
from var.quantities import quantity
from var.randomness import keyed_generator

TEST_SHARE, VAL_SHARE, HALF = 0.2, 0.1, 0.5
"""What is held out of each class where the data have no such part; a half where nothing is trained on the rest."""

MOST_REFERENCE = 2000  # images that distances are measured to
MOST_NUMBERS = 2**24  # of the training images that controls are made of and copies are looked for among, 64 MiB
LEAST, LEAST_HALVED = 4, 6  # training images of a class; where half of them become the reference
FEWEST = 2  # of a class that are kept of many: a Gaussian needs two
LEAST_REFERENCE = 4  # images of a part that distances are measured to: two halves are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Data by name, in three parts that share no image: "train", "val" and "test".

    A part that the data do not have is held out of the training images, the same share of every class.
    """

    source: str  # what `var.data.open_data` opens
    size: tuple[int, int] | None = None  # (height, width); None is the data's own
    channels: int | None = None
    reference: str = "test"  # the part that distances are measured to, or "all"
    validated: bool = False  # whether "val" is needed
    trained_on: bool = True  # whether models are trained on "train"; else it is half of what has no parts
    captions: bool = False  # whether images are asked for by their captions

    def part(self, name: str) -> ImageData:
        """The part `name`, or "all"."""
        return _opened(self)[0][name]

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about what is held out or left out."""
        kept, total = len(places_in_memory(self, "train")), len(self.part("train"))
        capped = f"controls are made of {kept} of the {total} training images"
        capped += ", and copies are looked for among those" if self.trained_on else ""
        return (*_opened(self)[1], *([capped] if kept < total else []))

    def digest(self) -> str:
        """What the images are, for the keys of stages."""
        parts = _opened(self)[0]
        found = [fingerprint(parts[name]) for name in sorted(parts)]
        if self.captions:
            texts = repr([different_captions(parts[name])[0] for name in sorted(parts)])
            found.append(hashlib.sha256(texts.encode()).hexdigest())
        return " ".join(found)


@lru_cache(maxsize=4)
def _opened(data: DataSet) -> tuple[dict[str, ImageData], tuple[str, ...]]:
    def opened(split: str) -> ImageData:
        shape = {"size": data.size, "channels": data.channels}
        return open_data(data.source, split=split, captions=data.captions, **shape)

    train, notes = opened("train"), []
    if data.captions:
        check_captions(train, data.source)
    parts = {"all": opened("all")} if data.reference == "all" else {}
    test, val = (_held_out(opened, split, train, data.source) for split in ("test", "val"))
    _check_classes(train, data.source, LEAST_HALVED if test is None and not data.trained_on else LEAST)
    if test is not None and val is not None and fingerprint(test) == fingerprint(val):
        val = None  # one part that stands for both
    if test is None:
        train, test = _parted(train, "test", TEST_SHARE if data.trained_on else HALF)
        notes.append(
            f"the data have no split 'test': {quantity(len(test))} images, a share of each class, are held out"
        )
    if len(test) < LEAST_REFERENCE:
        raise UserError(
            f"a comparison needs {LEAST_REFERENCE} images or more to judge by, got {len(test)} held out of "
            f"{data.source}; add some"
        )
    if val is None and data.validated:
        train, val = _parted(train, "val", VAL_SHARE)
        notes.append(f"the data have no other split 'val': {quantity(len(val))} images are held out of 'train'")
    return {**parts, "train": train, "test": test, **({} if val is None else {"val": val})}, tuple(notes)


def _held_out(opened: Callable[[str], ImageData], split: str, train: ImageData, source: str) -> ImageData | None:
    try:
        other = opened(split)
    except MissingSplitError:
        return None
    return other if other.classes == train.classes else Relabelled(other, train.classes, f"{split} of {source}")


def _check_classes(train: ImageData, source: str, needed: int) -> None:
    """Raise `UserError` for data that no judge can learn from, with fewer than `needed` images of a class."""
    if condition_size(train)[0] < 2 or len(train.classes) < 2:
        raise UserError(
            f"a comparison needs 2 or more classes, from which its judges learn, got {len(train.classes)} in {source}; "
            "put the images into a folder for each class"
        )
    counts = torch.bincount(train.labels, minlength=len(train.classes))
    if (least := int(counts.min())) < needed:
        raise UserError(
            f"a comparison needs {needed} training images or more of each class, got {least} of "
            f"{train.classes[int(counts.argmin())]!r} in {source}; add some or take the class out"
        )


class Chosen(WrappedData):
    """The images of `data` at some `places`."""

    def __init__(self, data: ImageData, places: Int64[Tensor, " some"]):
        super().__init__(data)
        self.places, self.labels = places, data.labels[places]

    def __len__(self) -> int:
        return len(self.places)

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index` of these."""
        return self.data.load(int(self.places[index]))

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
        """The images at `indices` of these."""
        return load_images(self.data, self.places[indices])

    def load_framed(self, index: int, framing: Any, generator: torch.Generator) -> Float[Tensor, "c h w"]:
        """The part that `framing` chooses, where the data have larger pictures."""
        own = getattr(self.data, "load_framed", None)
        place = int(self.places[index])
        return own(place, framing, generator) if own else framing(self.data.load(place), generator)

    def condition(self, indices: Int64[Tensor, " batch"]) -> Condition:
        """What the images at `indices` of these show."""
        return conditions_at(self.data, self.places[indices])

    @property
    def captions(self) -> Captions | None:
        """What each of these shows, in words."""
        texts = super().captions
        return None if texts is None else Captions(len(self), lambda index: texts[int(self.places[index])])

    def describe(self, index: int) -> str:
        """What the data call the image."""
        return self.data.describe(int(self.places[index]))

    def identity(self) -> str:
        """What the fingerprint takes in besides the data's own."""
        return f"places {self.places.tolist()}"


def grey_levels(data: ImageData) -> int:
    """How many evenly spaced grey levels from -1 to 1 the images have: 17 of the digits, 256 of usual pictures."""
    some = evenly(data.labels, 200, "grey levels")
    places = (load_images(data, some).unique().double() + 1) / 2
    count = len(places)
    even = count > 1 and torch.allclose(places, torch.linspace(0, 1, count, dtype=torch.float64), atol=1e-4)
    return min(count, 256) if even else 256


def evenly(labels: Int64[Tensor, " n"], count: int, key: str, least: int = 1) -> Int64[Tensor, " some"]:
    """About `count` places, in order: the same share of every class, at least `least` images, drawn by `key`."""
    if count >= len(labels):
        return torch.arange(len(labels))
    chosen = []
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten()
        order = torch.randperm(len(members), generator=keyed_generator("comparison", key, label))
        chosen.append(members[order[: max(least, round(count * len(members) / len(labels)))]])
    return torch.cat(chosen).sort().values


def _parted(data: ImageData, key: str, share: float) -> tuple[ImageData, ImageData]:
    """What is left of `data`, and the `share` of every class that is held out."""
    out = evenly(data.labels, round(share * len(data)), key)
    rest = torch.ones(len(data), dtype=torch.bool)
    rest[out] = False
    return Chosen(data, torch.nonzero(rest).flatten()), Chosen(data, out)


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """Real images in memory, and where they lie in their part."""

    places: Int64[Tensor, " n"]
    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    total: int  # of the part

    def __len__(self) -> int:
        return len(self.images)


def places_in_memory(data: DataSet, part: str) -> Int64[Tensor, " some"]:
    """The images of a part, or as many as memory and time allow, the same share of every class."""
    whole = data.part(part)
    numbers = max(MOST_NUMBERS // torch.Size(whole.shape).numel(), 2 * len(whole.classes))
    count = numbers if part == "train" else min(MOST_REFERENCE, numbers)
    return evenly(whole.labels, count, f"{part} in memory", FEWEST)


@lru_cache(maxsize=8)
def real_images(data: DataSet, part: str) -> Real:
    """The images of a part that are kept in memory."""
    whole, places = data.part(part), places_in_memory(data, part)
    images = torch.cat([to_uint8(load_images(whole, some)) for some in places.split(500)])
    return Real(places, images, whole.labels[places], len(whole))
