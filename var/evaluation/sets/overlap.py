"""Whether images count twice: sets of one model, training and test images, samples and what they are compared with."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt64
from torch import Tensor

from var.errors import UserError
from var.evaluation.sets.records import Record
from var.evaluation.sets.samples import SampleSet
from var.names import shown

ALLOWED = 0.01
"""Share of a set that may show the same as another set: a generator repeats itself, a copy of a set is all of it."""

Pictures = UInt64[np.ndarray, " n"]
"""A number for the pixels of each image: equal numbers are equal images, whatever their files are."""


class Watched:
    """Batches of images, whose pixels are remembered as they pass."""

    def __init__(self, batches: Iterable[UInt8[Tensor, "batch c h w"]]) -> None:
        self._batches = batches
        self._digests = bytearray()

    def __iter__(self) -> Iterator[UInt8[Tensor, "batch c h w"]]:
        for batch in self._batches:
            for image in batch.numpy():
                self._digests += blake2b(image.tobytes(), digest_size=8).digest()
            yield batch

    @property
    def pictures(self) -> Pictures:
        """Those that have passed."""
        return np.frombuffer(bytes(self._digests), np.uint64)


def check_apart(sets: Sequence[SampleSet]) -> None:
    """Raise `UserError`, before any work, for sets that share files, seeds or places: chance would not move them."""
    for one, other in combinations(sets, 2):
        check_places(one.path, other.path, "each set must be another one")
        again = f"got {shown(other.path)} again in {shown(one.path)}"
        seeds = _seeds(one) & _seeds(other)
        if seeds:
            raise UserError(
                f"each set must have seeds of its own, got {min(seeds)} in {one.path} and {other.path} "
                f"({len(seeds)} such); draw a set with other seeds"
            )
        if _drawn_apart(one, other):
            continue
        numbers = {one.manifest.get("seed"), other.manifest.get("seed")} if one.manifest and other.manifest else set()
        if len(numbers - {None}) == len(numbers) == 1 or one.fingerprint() == other.fingerprint():
            raise UserError(f"each set must be another one, {again}; draw a set with another seed")
        check_shared(len({*one.digests} & {*other.digests}), one, other)


def check_places(one: Path, other: Path, rule: str) -> None:
    """Raise `UserError` for a place that is another one too, or lies in it."""
    a, b = one.resolve(), other.resolve()
    if a == b:
        raise UserError(f"{rule}, got the same path twice, {one} and {other}; leave one of them out")
    if a in b.parents or b in a.parents:
        raise UserError(f"{rule}, got {one} and {other}, one inside the other; give one of them")


def check_shared(count: int, one: SampleSet, other: SampleSet) -> str | None:
    """The caution on `count` images that both sets show; raises `UserError` if they are too many for chance."""
    size = min(one.count, other.count)
    if count > ALLOWED * size:
        raise UserError(
            f"each set must be another one, got {count} images of {other.path} in {one.path} too, of "
            f"{size}; draw a set with other seeds"
        )
    return _caution(count, one, other)


def _caution(count: int, one: SampleSet, other: SampleSet) -> str | None:
    return f"Shared: {count} images of {shown(other.path)} are in {shown(one.path)} too." if count else None


def shared_pictures(sets: Sequence[SampleSet], pictures: Sequence[Pictures]) -> list[str]:
    """Cautions on images that are in several of `sets`, or several times in one, whatever files they are in.

    Sets that record seeds which differ are what they say, even if they show the same. Raises `UserError` as
    `check_shared` does.
    """
    found = []
    for (one, a), (other, b) in combinations(list(zip(sets, pictures, strict=True)), 2):
        # Where both say their seeds, equal pixels are the generator's doing.
        check = _caution if _drawn_apart(one, other) else check_shared
        found.append(check(int(np.isin(b, a).sum()), one, other))
    for one, seen in zip(sets, pictures, strict=True):
        if repeats := len(seen) - len(np.unique(seen)):
            found.append(f"Repeats: {repeats} of {len(seen)} images of {shown(one.path)} show what another one shows.")
    return [one for one in found if one is not None]


def _seeds(one: SampleSet) -> set[int]:
    return {seed for seed in map(_seed, one.records) if seed is not None}


def _seed(record: Record | None) -> int | None:
    return None if record is None else record.seed


def _drawn_apart(one: SampleSet, other: SampleSet) -> bool:
    """Whether all images of both sets record a seed, so that those of one are known not to be the other's."""
    return all(each.records and None not in map(_seed, each.records) for each in (one, other))
