"""The schedule of scales: how many tokens each token map has, where they lie in the sequence, who attends to whom."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from var.errors import UserError
from var.names import received
from var.typed import fit

MOST_SIDE, MOST_TOKENS, MOST_MAPS = 2**13, 2**24, 2**10
"""Of a token map, of all maps of an image, and of one side; a sum that overflows comes long after."""

Side = int | tuple[int, int]
"""Size of a token map: an int is a square, a pair is (height, width)."""


@dataclass(frozen=True, slots=True)
class ScaleSchedule:
    """Side lengths of the token maps, coarse to fine; an int is a square map, a pair is (height, width).

    `repeats` says how many maps there are of each side; empty, there is one. Each after the first quantises what is
    still left over, as the levels of residual quantisation do (Lee et al. 2022, arXiv 2203.01941), and is a scale like
    the others.

    Raises `UserError` unless there is at least one scale, all sides are positive whole numbers, and every side is
    larger than the one before it, in neither direction smaller; and for other repeats than one for each side.
    """

    sides: tuple[Side, ...]
    repeats: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.sides, Iterable):
            raise UserError(
                f"sides must be a list, one for each scale, got {received(self.sides)}; pass for example (1, 2, 4)"
            )
        object.__setattr__(self, "sides", tuple(_checked_side(side) for side in self.sides))
        if not self.sides:
            raise UserError("a scale schedule needs at least one side, got none; pass for example (1, 2, 4)")
        self._check_repeats()
        for coarse, fine in pairwise(map(_shape, self.sides)):
            if fine == coarse or fine[0] < coarse[0] or fine[1] < coarse[1]:
                raise UserError(
                    f"the scales must grow from coarse to fine, got {coarse[0]}x{coarse[1]} before {fine[0]}x{fine[1]} "
                    f"in {self.sides}; sort them and drop doubles"
                )

    def __len__(self) -> int:
        """Number of scales, K."""
        return len(self.maps)

    @property
    def maps(self) -> tuple[Side, ...]:
        """The sides of all token maps."""
        repeats = self.repeats or (1,) * len(self.sides)
        return tuple(side for side, count in zip(self.sides, repeats, strict=True) for _ in range(count))

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every token map."""
        return tuple(map(_shape, self.maps))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of tokens of every scale."""
        return tuple(height * width for height, width in self.shapes)

    @property
    def length(self) -> int:
        """Number of tokens of an image: all scales together."""
        return sum(self.lengths)

    def _check_repeats(self) -> None:
        object.__setattr__(self, "repeats", tuple(self.repeats))
        fine = all(isinstance(each, int) and 1 <= each <= MOST_MAPS for each in self.repeats)
        if not fine or len(self.repeats) not in (0, len(self.sides)):
            raise UserError(
                f"repeats must be a number of maps from 1 to {MOST_MAPS} for each of the sides {self.sides}, got "
                f"{self.repeats}; leave it empty for one of each"
            )

    def slices(self) -> Iterator[slice]:
        """Where the tokens of every scale lie in the sequence."""
        start = 0
        for length in self.lengths:
            yield slice(start, start := start + length)

    def seen(self, window: int | None = None) -> tuple[slice, ...]:
        """What every scale sees of the sequence: itself and all coarser ones, or the last `window` of these."""
        own = tuple(self.slices())
        first = (0 if window is None else max(scale - window, 0) for scale in range(len(own)))
        return tuple(slice(own[start].start, where.stop) for start, where in zip(first, own, strict=True))

    def flatten(self, token_maps: Sequence[Int64[Tensor, "batch _h _w"]]) -> Int64[Tensor, "batch length"]:
        """Token maps, coarse to fine, as one sequence; raises `UserError` where their shapes are not the schedule's."""
        found = tuple(tuple(token_map.shape[1:]) for token_map in token_maps)
        if found != self.shapes:
            raise UserError(f"token maps must have the shapes {self.shapes}, got {found}; encode with this schedule")
        return torch.cat([token_map.flatten(1) for token_map in token_maps], dim=1)

    def split(self, tokens: Int64[Tensor, "batch length"]) -> list[Int64[Tensor, "batch _h _w"]]:
        """The inverse of `flatten`; raises `UserError` where the sequence has another length."""
        if tokens.shape[1] != self.length:
            raise UserError(
                f"a token sequence of the sides {self.sides} has length {self.length}, got {tokens.shape[1]}; "
                "encode with this schedule"
            )
        return [tokens[:, where].unflatten(1, shape) for where, shape in zip(self.slices(), self.shapes, strict=True)]

    def scale_index(self) -> Int64[Tensor, " length"]:
        """Scale (from 0) of every position in the sequence."""
        index = torch.zeros(self.length, dtype=torch.int64)
        for scale, where in enumerate(self.slices()):
            index[where] = scale
        return index


@lru_cache(maxsize=256)
def schedule_of(sides: tuple[Side, ...], repeats: tuple[int, ...]) -> ScaleSchedule:
    """The schedule of sides and repeats that a config has checked: models ask for it thousands of times."""
    return ScaleSchedule(sides, repeats)


def block_causal_mask(scales: ScaleSchedule, window: int | None = None) -> Bool[Tensor, "length length"]:
    """True where a query (row) may attend to a key (column), see `ScaleSchedule.seen`."""
    # Filled, not compared: on the meta device torch compares by way of its compiler, which takes 2 s to import.
    mask = torch.zeros((), dtype=torch.bool).new_zeros(scales.length, scales.length)
    for where, seen in zip(scales.slices(), scales.seen(window), strict=True):
        mask[where, seen] = True
    return mask


def _shape(side: Side) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side


def _checked_side(side: Any) -> Side:
    """A positive int, or a pair of different ones; a square given as a pair becomes an int."""
    try:
        height, width = fit(side if isinstance(side, (tuple, list)) else (side, side), tuple[int, int])
        if min(height, width) < 1:
            raise TypeError
    except TypeError as error:
        raise UserError(
            f"a side must be a positive whole number or a (height, width) pair of them, got {received(side)}"
        ) from error
    return height if height == width else (height, width)


def check_scales(scales: ScaleSchedule) -> None:
    """Raise `UserError` for more tokens than any machine holds."""
    largest = max(map(max, scales.shapes))
    if largest > MOST_SIDE or scales.length > MOST_TOKENS:
        raise UserError(
            f"sides must be at most {MOST_SIDE:,} with {MOST_TOKENS:,} tokens in all, got {largest:,} and "
            f"{scales.length:,}; lower them"
        )
