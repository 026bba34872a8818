"""Seeds as users write and pass them: numbers and ranges, however long."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from var.errors import UserError
from var.names import received
from var.sampling.numbers import listed_values, whole
from var.typed import length

LIMIT = 2**63


def is_seed(number: int) -> bool:
    """Whether it lies in the range of seeds."""
    return 0 <= number < LIMIT


def _check_range(largest: int, written: object) -> None:
    """Raise `UserError` for what a user wrote of a `largest` number that is no seed."""
    if not is_seed(largest):
        raise UserError(f"seeds must lie in [0, 2^63), got {written}; choose others")


def passed_seeds(seeds: Any, count: int | None = None) -> list[int]:
    """The seeds of a call: a list, a tuple, a range, an array or a tensor; raises `UserError` for anything else.

    So it does for another number of them than `count` (None: any).
    """
    listed = listed_values(seeds, "seeds")
    if count is not None and (found := length(listed)) != count:
        raise UserError(f"expected a seed for each of {count} images, got {received(found)}; pass as many")
    numbers = [whole(seed, "each of seeds") for seed in listed]
    for number in numbers:
        _check_range(number, number)
    return numbers


@dataclass(frozen=True, slots=True)
class Seeds:
    """Different seeds in [0, 2^63), in the order given; ranges are never written out."""

    ranges: tuple[range, ...]

    def __post_init__(self) -> None:
        ordered = sorted(self.ranges, key=lambda seeds: seeds.start)
        for left, right in pairwise(ordered):
            if right.start < left.stop:
                raise UserError(f"seeds must differ, got {right.start} more than once; name each of them once")

    @property
    def count(self) -> int:
        """How many there are; `len` could not tell of more than 2^63."""
        return sum(seeds.stop - seeds.start for seeds in self.ranges)

    def __getitem__(self, index: int) -> int:
        for seeds in self.ranges:
            if index < seeds.stop - seeds.start:
                return seeds.start + index
            index -= seeds.stop - seeds.start
        raise IndexError(f"there are {self.count} seeds")

    def __contains__(self, seed: int) -> bool:
        return any(seed in seeds for seeds in self.ranges)

    def __iter__(self) -> Iterator[int]:
        return (seed for seeds in self.ranges for seed in seeds)


@dataclass(frozen=True, slots=True)
class SpreadSeeds:
    """`count` of the seeds from `first` to `first + total - 1`, spread evenly: the i-th is first + i total // count."""

    first: int
    total: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.total:
            raise UserError(f"the set has {self.total} images to draw from 1 to all of, got {self.count}; correct it")
        _check_range(last := self.first + self.total - 1, last)

    def __getitem__(self, index: int) -> int:
        return self.first + index * self.total // self.count

    def __contains__(self, seed: int) -> bool:
        index = -((self.first - seed) * self.count // self.total)
        return 0 <= index < self.count and self[index] == seed


def parse_seeds(texts: Iterable[str]) -> Seeds:
    """The seeds in texts such as "7", "0-15" (both ends belong to it) or "3,8-9"; raises `UserError` for others."""
    return Seeds(tuple(_parse_range(part.strip()) for text in texts for part in text.split(",")))


def _parse_range(text: str) -> range:
    first, dash, last = text.partition("-")
    ends = [first, last] if dash else [first]
    if not all(end.isascii() and end.isdigit() for end in ends):
        raise UserError(f"seeds are whole numbers from 0 on or ranges of them, got {text!r}; write for example 0-15")
    low, high = (int(end) if len(end) <= 19 else LIMIT for end in (ends[0], ends[-1]))
    _check_range(max(low, high), repr(text))
    if high < low:
        raise UserError(f"a range of seeds must run upwards, got {text!r}; write {high}-{low}")
    return range(low, high + 1)
