"""In how many passes each token map is drawn, and which of its tokens in which: later ones see the earlier ones.

The tokens of one map are drawn independently of each other. In several passes they are not, at the same number of
tokens and operations (parallelised autoregression, arXiv 2412.15119): every position of a pass after the first is told,
beside its input, a token that was drawn in the pass before, and attends to all that were drawn so far. What the model
says is then the exact probability of a map, whatever the number of passes. As many passes as tokens in raster order
are the autoregression of old, over the tokens of one map (VQ-GAN, arXiv 2012.09841).
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from var.scales import ScaleSchedule, block_causal_mask

AROUND = 2
"""Rows and columns on each side of a position that are around it."""


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes of all token maps; `counts` says how many each map has, empty: one.

    Every pass is spread over all of its map, evenly, or else they go from its top to its bottom, in raster order. With
    "diagonal" there are as many as `diagonals`, and each row follows two columns behind the one above it, so that
    raster order's neighbours are known in every pass, of which there are fewer.
    """

    scales: ScaleSchedule
    counts: tuple[int, ...] = ()
    order: Literal["even", "raster", "diagonal"] = "even"

    @property
    def single(self) -> bool:
        """Whether every map is drawn at once."""
        return set(self.counts) <= {1}

    @property
    def by_map(self) -> tuple[int, ...]:
        """How many passes each map has."""
        return self.counts or (1,) * len(self.scales)

    @property
    def total(self) -> int:
        """Of all maps together: how often a call runs the transformer."""
        return sum(self.by_map)

    def of(self, scale: int) -> tuple[Int64[Tensor, " some"], ...]:
        """The positions in the map of `scale` that each of its passes draws.

        No pass is larger than the one before it, but for diagonals; they are spread in the order of ordered dithering
        (Bayer 1973).
        """
        return self._in_order(scale).split(self._sizes(scale))

    def _sizes(self, scale: int) -> list[int]:
        """Tokens of each pass of the map of `scale`."""
        count, shape = self.by_map[scale], self.scales.shapes[scale]
        if count == 1 or self.order != "diagonal":
            each, more = divmod(shape[0] * shape[1], count)
            return [each + (number < more) for number in range(count)]
        found = Counter(column + 2 * row for row, column in product(*map(range, shape)))
        return [found[diagonal] for diagonal in range(count)]

    def _in_order(self, scale: int) -> Int64[Tensor, " length"]:
        """All positions in the map of `scale`, those of its first pass first."""
        return torch.tensor(self._order(scale))

    def _order(self, scale: int) -> list[int]:
        height, width = self.scales.shapes[scale]
        places = [(row, column) for row in range(height) for column in range(width)]
        order = list(range(len(places)))
        if self.by_map[scale] > 1 and self.order == "even":
            order.sort(key=lambda place: _threshold(*places[place]))
        if self.by_map[scale] > 1 and self.order == "diagonal":
            order.sort(key=lambda place: places[place][1] + 2 * places[place][0])
        return order

    def told(self) -> Int64[Tensor, " length"]:
        """For every position of the sequence, that of the token that it is told; -1 in first passes."""
        told = torch.full((self.scales.length,), -1)
        for scale, where in enumerate(self.scales.slices()):
            for before, now in pairwise(self.of(scale)):
                # Taken from a range, not added, for the sake of the meta device; see `mask`.
                told[where][now] = torch.arange(where.start, where.stop)[before[: len(now)]]
        return told

    def neighbours(self) -> Int64[Tensor, "length around"]:
        """For every position of the sequence, those around it in its map that were drawn before it; -1 for others.

        Around it are the places that lie up to `AROUND` rows and columns away, in raster order.
        """
        steps = range(-AROUND, AROUND + 1)
        around = [(down, across) for down in steps for across in steps if (down, across) != (0, 0)]
        found = []
        # Numbers, not tensors: on the meta device torch adds by way of its compiler, which takes 2 s to import.
        for scale, where in enumerate(self.scales.slices()):
            (height, width), order = self.scales.shapes[scale], self._order(scale)
            passes = [number for number, size in enumerate(self._sizes(scale)) for _ in range(size)]
            number = dict(zip(order, passes, strict=True))  # of the pass that draws a place
            for row, column in product(range(height), range(width)):
                own, near = number[row * width + column], ((row + down, column + across) for down, across in around)
                inside = [y * width + x if 0 <= y < height and 0 <= x < width else -1 for y, x in near]
                found.append([where.start + at if at >= 0 and number[at] < own else -1 for at in inside])
        return torch.tensor(found)

    def mask(self, window: int | None = None) -> Bool[Tensor, "length length"]:
        """`block_causal_mask`, less what is drawn in a later pass of the same map."""
        mask = block_causal_mask(self.scales, window)
        for scale, where in enumerate(self.scales.slices()):
            own, order, drawn = mask[where, where], self._in_order(scale), 0
            for now in self.of(scale)[:-1]:
                drawn += len(now)
                # A part of the order, not passes put together: on the meta device torch does that by way of its
                # compiler, which takes 2 s to import.
                own[now[:, None], order[drawn:]] = False
        return mask


def diagonals(height: int, width: int) -> int:
    """In how many passes a map is drawn in the order "diagonal"."""
    return width + 2 * (height - 1)


def _threshold(row: int, column: int) -> int:
    """Place of a cell in the order of ordered dithering: bits of row ^ column and row by turns, the lowest first."""
    value = 0
    for bit in range(max(row, column).bit_length(), -1, -1):
        value += (2 * ((row ^ column) >> bit & 1) + (row >> bit & 1)) << 2 * (15 - bit)
    return value
