"""Coloured shapes on plain grounds, drawn when they are needed: endless images that no one has to download."""

import colorsys
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain, count
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.data.base import Captions
from var.data.image_size import Size, image_size
from var.data.shape_words import PHRASES, SIZES, Shown, ground_word, held_out_grounds, place_words, words_in
from var.data.whole_numbers import as_whole
from var.errors import UserError, suggestion
from var.images import from_uint8
from var.names import received
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
LEAST_RADIUS, RADII = 0.18, 0.2
LENGTHS = {"train": 50_000, "test": 5_000}
MOST_SHAPES = 10_000_000
"""Images of a split: each has a label in memory."""
COMBINATIONS = ("all", "seen", "held-out")
HELD_OUT = tuple(frozenset(held_out_grounds(colour, shape)) for colour in COLOURS for shape in SHAPES)
"""Of each class the grounds that only "held-out" shows, and "seen" never."""


class ShapesData:
    """The first images of one or several endless splits; see `shapes`."""

    classes = CLASSES
    licence = "MIT"  # this project draws them
    words_in = staticmethod(words_in)

    def __init__(self, lengths: dict[str, int], size: int, combinations: str = "all"):
        self.lengths, self.shape, self.combinations = dict(lengths), (3, size, size), combinations
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

    def shows(self, index: int) -> Shown:
        """What is drawn at `index`, in words; what is between two words has the nearer one."""
        plan = self._plan(index)
        kind = int(self.labels[index])
        colour, shape = COLOURS[kind // len(SHAPES)], tuple(SHAPES)[kind % len(SHAPES)]
        return Shown(
            size=SIZES[min(int((plan[2] - LEAST_RADIUS) / RADII * len(SIZES)), len(SIZES) - 1)],
            colour=colour,
            shape=shape,
            ground=ground_word(*plan[8:11]),
            place=place_words(*plan[:2]),
        )

    def attributes(self) -> dict[str, list[str]]:
        """What all images show, by the names of the fields of `Shown`."""
        shown = [asdict(self.shows(index)) for index in range(len(self))]
        return {name: [each[name] for each in shown] for name in shown[0]}

    @property
    def captions(self) -> Captions:
        """What each image shows, such as "a large red circle on a dark blue ground", phrased in one of several ways.

        The way depends on the index only, and every class has all of them equally often.
        """
        return Captions(len(self), self._caption)

    def _caption(self, index: int) -> str:
        place = self._locate(index)[1]
        return PHRASES[place // len(CLASSES) % len(PHRASES)].format(**asdict(self.shows(index)))

    def identity(self) -> str:
        """What the fingerprint takes in besides labels and shape."""
        return f"shapes 2 {self.lengths}" + (f" {self.combinations}" if self.combinations != "all" else "")

    def _plan(self, index: int) -> list[float]:
        """The first of the plans at `index` whose combination is wanted; 10 in the mean where it is to be held out."""
        split, place = self._locate(index)
        if self.combinations == "all":
            return self._drawn(place, split, place)
        held_out, wanted = HELD_OUT[place % len(CLASSES)], self.combinations == "held-out"
        plans = (self._drawn(place, split, place, *again) for again in chain([()], zip(count(1))))
        return next(plan for plan in plans if (ground_word(*plan[8:11]) in held_out) == wanted)

    def _drawn(self, place: int, *key: SupportsIndex | str) -> list[float]:
        """Centre, radius, cosine and sine of the turn, colour of the shape, colour of the ground; all from the key."""
        draws = [keyed_seed("shapes", *key, part) for part in range(3)]
        x, y, radius, turn, hue, saturation, value, *_ = [
            ((draw >> shift) & 0x1FFFFF) / 2**21 for draw in draws for shift in (0, 21, 42)
        ]
        radius = LEAST_RADIUS + RADII * radius
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


def shapes(
    split: str = "train", *, size: Size = 32, length: SupportsIndex | None = None, combinations: str = "all"
) -> ShapesData:
    """Images (3, size, size) of 4 shapes x 3 colours, of random place, size, turn and ground.

    Image i of a split depends on (split, i) only, whatever the order or the process that draws it; at another `size` it
    is the same picture in another resolution. Image i has class i mod 12. "train" holds 50,000 images, "test" 5,000
    others, or the first `length` of an endless supply; "all" is both, one after the other, and has no `length`.
    `combinations` of a coloured shape and a ground may be "seen", in every split without a tenth of them that is always
    the same, or "held-out", that tenth alone; where "all" shows what is not wanted, another picture stands there.

    Raises `UserError` for an unknown split and for impossible numbers.
    """
    if split not in (*LENGTHS, "all"):
        raise UserError(f"unknown split {received(split)} of the shapes; {suggestion(split, (*LENGTHS, 'all'))}")
    if combinations not in COMBINATIONS:
        remedy = suggestion(combinations, COMBINATIONS)
        raise UserError(f"unknown combinations {received(combinations)} of the shapes; {remedy}")
    height, width = image_size(size)
    if height != width or height < 8:
        raise UserError(f"the shapes need a size of 8 pixels or more, got {size}; ask for a larger one")
    if split == "all":
        if length is not None:
            raise UserError(f'the split "all" of the shapes has no length of its own, got {length}; leave it out')
        return ShapesData(LENGTHS, height, combinations)
    images = as_whole(LENGTHS[split] if length is None else length)
    if images is None or not 1 <= images <= MOST_SHAPES:
        raise UserError(
            f"a length must be 1 or more, got {received(length)}, and at most {MOST_SHAPES}; leave it out for "
            f"{LENGTHS[split]}"
        )
    return ShapesData({split: images}, height, combinations)


def open_shapes(
    split: str, size: tuple[int, int] | None, channels: int | None, *, combinations: str = "all"
) -> ShapesData:
    """The shapes, as `open_data` opens them; raises `UserError` for unequal sides or another number of channels."""
    height, width = size or (32, 32)
    if height != width:
        raise UserError(f"the shapes are square, got size {height}x{width}; give one side length")
    if channels not in (None, 3):
        raise UserError(f"the shapes have 3 channels, got channels={channels}; leave it out")
    return shapes(split, size=height, combinations=combinations)
