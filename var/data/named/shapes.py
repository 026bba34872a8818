"""Coloured shapes on plain grounds, drawn when they are needed: endless images that no one has to download."""

import colorsys
import math
from collections.abc import Callable
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.data.image_size import Size, image_size
from var.data.whole_numbers import as_whole
from var.errors import UserError, suggestion
from var.images import from_uint8
from var.randomness import keyed_seed

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Signed distance of (x, y) to the border of a shape that fits into the unit circle, negative inside."""


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y) - np.float32(0.8)


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) - np.float32(math.sqrt(0.5))


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(y, abs(x) * np.float32(math.sqrt(0.75)) - y * np.float32(0.5)) - np.float32(0.5)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    length, width = np.float32(0.94), np.float32(math.sqrt(1 - 0.94**2))
    across, along = abs(x), abs(y)
    lying = np.maximum(across - length, along - width)
    standing = np.maximum(across - width, along - length)
    return np.minimum(lying, standing)


SHAPES: dict[str, Distance] = {"circle": _circle, "square": _square, "triangle": _triangle, "cross": _cross}
DISTANCES = tuple(SHAPES.values())
COLOURS = ("red", "green", "blue")  # at a third of the colour circle from each other
CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
CACHED = 2**17
"""Pixels that are drawn at once: beyond, the memory is what takes the time."""
LENGTHS = {"train": 50_000, "test": 5_000}
MOST_SHAPES = 10_000_000
"""Images of a split: each has a label in memory."""


class ShapesData:
    """The first images of one or several endless splits; see `shapes`."""

    classes = CLASSES

    def __init__(self, lengths: dict[str, int], size: int):
        self.lengths, self.shape = dict(lengths), (3, size, size)
        labels = [torch.arange(length) % len(CLASSES) for length in lengths.values()]
        self.labels: Int64[Tensor, " n"] = torch.cat(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int) -> Float[Tensor, "3 size size"]:
        """The image at `index`, float32 in [-1, 1], always of one of the 256 levels."""
        return self.load_many(torch.tensor([index]))[0]

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch 3 size size"]:
        """The images at `indices`, bit for bit what `load` gives."""
        at_once = max(1, CACHED // self.shape[1] ** 2)
        return torch.cat([self._draw(some) for some in indices.split(at_once)])

    def _draw(self, indices: Int64[Tensor, " some"]) -> Float[Tensor, "some 3 size size"]:
        # Pixels are made by +, -, x, / and the root only, which every processor rounds alike, in batches and alone.
        plans = np.array([self._plan(index) for index in indices.tolist()], dtype=np.float32)[..., None, None]
        ink, ground = plans[:, 5:8], plans[:, 8:11]
        coverage = self._coverage(self.labels[indices].numpy() % len(SHAPES), plans[:, :5])
        levels = np.rint((ground + coverage[:, None] * (ink - ground)) * np.float32(255))
        return from_uint8(torch.from_numpy(levels.astype(np.uint8)))

    def describe(self, index: int) -> str:
        """Its name in messages, such as "shapes[12]"."""
        return f"shapes[{index}]"

    def identity(self) -> str:
        """What the fingerprint takes in besides labels and shape."""
        return f"shapes 2 {self.lengths}"

    def _plan(self, index: int) -> list[float]:
        """Centre, radius, cosine and sine of the turn, colour of the shape, colour of the ground; all from the key."""
        split, place = self._locate(index)
        draws = [keyed_seed("shapes", split, place, part) for part in range(3)]
        x, y, radius, turn, hue, saturation, value, *_ = [
            ((draw >> shift) & 0x1FFFFF) / 2**21 for draw in draws for shift in (0, 21, 42)
        ]
        radius = 0.18 + 0.2 * radius
        angle = 2 * math.pi * turn
        colour = place % len(CLASSES) // len(SHAPES) / len(COLOURS)
        ink = colorsys.hsv_to_rgb(colour, 0.9, 0.9)
        ground = colorsys.hsv_to_rgb(hue, 0.3 * saturation, 0.15 + 0.8 * value)
        x, y = (radius + (1 - 2 * radius) * along for along in (x, y))
        return [x, y, radius, math.cos(angle), math.sin(angle), *ink, *ground]

    def _locate(self, index: int) -> tuple[str, int]:
        """The split that holds `index`, and the index in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} shapes")
        for split, length in self.lengths.items():
            if index < length:
                return split, index
            index -= length
        raise AssertionError("the lengths add up to the number of labels")

    def _coverage(self, kinds: np.ndarray, places: np.ndarray) -> np.ndarray:
        """How much of every pixel lies in the shape, from 0 to 1, taking its border as straight within a pixel."""
        size = self.shape[1]
        centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        coverage = np.empty((len(kinds), size, size), np.float32)
        for kind in set(kinds.tolist()):
            chosen = kinds == kind
            x, y, radius, cosine, sine = places[chosen].swapaxes(0, 1)
            across, down = (centres[None, None, :] - x) / radius, (centres[None, :, None] - y) / radius
            border = DISTANCES[kind](cosine * across + sine * down, cosine * down - sine * across)
            coverage[chosen] = np.clip(np.float32(0.5) - border * (radius * np.float32(size)), 0, 1)
        return coverage


def shapes(split: str = "train", *, size: Size = 32, length: SupportsIndex | None = None) -> ShapesData:
    """Images (3, size, size) of 4 shapes x 3 colours, of random place, size, turn and ground.

    Image i of a split depends on (split, i) only, whatever the order or the process that draws it; at another `size` it
    is the same picture in another resolution. Image i has class i mod 12. "train" holds 50,000 images, "test" 5,000
    others, or the first `length` of an endless supply; "all" is both, one after the other, and has no `length`.

    Raises `UserError` for an unknown split and for impossible numbers.
    """
    if split not in (*LENGTHS, "all"):
        raise UserError(f"unknown split {split!r} of the shapes; {suggestion(split, (*LENGTHS, 'all'))}")
    height, width = image_size(size)
    if height != width or height < 8:
        raise UserError(f"the shapes need a size of 8 pixels or more, got {size}; ask for a larger one")
    if split == "all":
        if length is not None:
            raise UserError(f'the split "all" of the shapes has no length of its own, got {length}; leave it out')
        return ShapesData(LENGTHS, height)
    count = as_whole(LENGTHS[split] if length is None else length)
    if count is None or not 1 <= count <= MOST_SHAPES:
        raise UserError(
            f"a length must be 1 or more, got {length!r}, and at most {MOST_SHAPES}; leave it out for {LENGTHS[split]}"
        )
    return ShapesData({split: count}, height)


def open_shapes(split: str, size: tuple[int, int] | None, channels: int | None) -> ShapesData:
    """The shapes, as `open_data` opens them; raises `UserError` for unequal sides or another number of channels."""
    height, width = size or (32, 32)
    if height != width:
        raise UserError(f"the shapes are square, got size {height}x{width}; give one side length")
    if channels not in (None, 3):
        raise UserError(f"the shapes have 3 channels, got channels={channels}; leave it out")
    return shapes(split, size=height)
