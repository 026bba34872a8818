"""From an emoji to pixels: drawn large, averaged down, in the middle of white."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from var.errors import UserError
from var.foreign.fonts import opened_font

FINER = 4
"""How many times larger than the image a glyph of outlines is drawn."""
KEPT_SIDE, KEPT = 96, 8192
"""Images up to this side are kept once they are drawn (at most 220 MiB); larger ones are drawn each time."""
WIDTHS = 0.99, 1.01
"""Of a glyph, in cells: a sequence that the font does not join is as wide as its parts together."""
MEASURE = "\U0001f600"  # a grinning face: every font has it, and its width is that of a cell
MEASURED = 40
"""Pixels per em at which it is seen what a font has."""
FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
NO_FLAG = "\U0001f1e6\U0001f1e6"  # of AA, which ISO leaves to users


@dataclass(frozen=True, slots=True)
class Font:
    """A file of glyphs of outlines, or of bitmaps that are `pixels` per em."""

    path: Path
    pixels: int | None = None

    def has(self, text: str) -> bool:
        """Whether there is a glyph for `text`, one for all its parts together."""
        return _has(self, text)

    def ink(self, text: str, cell: int) -> tuple[Image.Image, float]:
        """The part of white paper that `text` has coloured, and how wide the glyph's cell was: about `cell`, or fixed.

        What was drawn is looked at: the box that fonts tell is that of the cell, and wrong for some joined sequences.
        """
        pixels = self.pixels
        if pixels is None:
            pixels = max(1, int(100 * cell / opened_font(self.path, 100).getlength(MEASURE)))
        font = opened_font(self.path, pixels)
        width = font.getlength(MEASURE)
        side = 2 * round(width)
        paper, blank = (Image.new("RGB", (side, side), "white") for _ in range(2))
        ImageDraw.Draw(paper).text((side // 4, side // 4), text, fill="black", font=font, embedded_color=True)
        box = ImageChops.difference(paper, blank).getbbox()
        if box is None:
            raise UserError(f"the font {self.path.name} must have a glyph for {text!r}, got none; install a newer one")
        return paper.crop(box), width


def draw(font: Font, text: str, size: tuple[int, int], channels: int) -> np.ndarray:
    """The picture of `text` as uint8 (channels, height, width), not to be written to.

    The largest square in the image is the glyph's cell, so that what is small stays small; the ink lies in the middle.
    """
    return (_kept if max(size) <= KEPT_SIDE else _draw)(font, text, size, channels)


def _draw(font: Font, text: str, size: tuple[int, int], channels: int) -> np.ndarray:
    height, width = size
    ink, cell = font.ink(text, FINER * min(size))
    finer = max(FINER if font.pixels is None else cell / min(size), max(ink.width / width, ink.height / height))
    paper = Image.new("RGB", (round(width * finer), round(height * finer)), "white")
    paper.paste(ink, ((paper.width - ink.width) // 2, (paper.height - ink.height) // 2))
    image = paper.resize((width, height), Image.Resampling.BOX if finer >= 1 else Image.Resampling.BICUBIC)
    pixels = np.array(image if channels == 3 else image.convert("L")).reshape(height, width, channels)
    pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    pixels.flags.writeable = False
    return pixels


_kept = lru_cache(maxsize=KEPT)(_draw)


@lru_cache(maxsize=2 * KEPT)
def _has(font: Font, text: str) -> bool:
    opened = opened_font(font.path, font.pixels or MEASURED)
    left, top, right, bottom = opened.getbbox(text)
    width = opened.getlength(text) / opened.getlength(MEASURE)
    if not (right > left and bottom > top and WIDTHS[0] < width < WIDTHS[1]):
        return False
    # For the flags that it has not, a font may have one flag with a question mark.
    return FLAG.fullmatch(text) is None or font.ink(text, MEASURED)[0] != font.ink(NO_FLAG, MEASURED)[0]
