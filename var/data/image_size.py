"""The size of images, in every way that users write it."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from var.data.whole_numbers import as_whole
from var.errors import UserError
from var.foreign.pictures import MOST_PIXELS
from var.names import received

Size = SupportsIndex | Sequence[SupportsIndex] | np.ndarray
"""A side length, or (height, width); whole numbers of any library."""


def image_size(size: Size) -> tuple[int, int]:
    """(height, width) of a `size` that is a side length or already a pair; whole numbers of any library are taken.

    Raises `UserError` for anything else, for less than one pixel and for more than a picture may have.
    """
    own = getattr(size, "tolist", None)  # of arrays and tensors
    pair: Any = own() if own else size
    pair = pair if isinstance(pair, Sequence) and not isinstance(pair, (str, bytes)) else (pair, pair)
    sides = [as_whole(side) for side in pair]
    if len(sides) != 2 or None in sides:
        raise UserError(
            f"the size of images must be a whole number of pixels, or two (height, width), got "
            f"{received(size)}; correct it"
        )
    height, width = (side for side in sides if side is not None)
    if height < 1 or width < 1:
        raise UserError(f"images must be at least 1x1 pixels, got size {height}x{width}; ask for a positive size")
    if height * width > MOST_PIXELS:
        raise UserError(
            f"images must have at most {MOST_PIXELS} pixels, got size {height}x{width}; ask for a smaller one"
        )
    return height, width
