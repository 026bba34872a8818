"""Words for what a drawn shape looks like, and sentences made of them."""

import colorsys
import re
from dataclasses import dataclass

from var.randomness import keyed_seed

SIZES = ("small", "medium-sized", "large")
HUES = ("red", "yellow", "green", "turquoise", "blue", "purple")
"""Sixths of the colour circle, the first around its beginning."""
GREYEST = 0.1
"""The saturation below which no hue is named."""
DARKEST, LIGHTEST = 0.4, 0.7
"""The values below and above which a ground is called dark and light."""
NEAR, FAR = 0.42, 0.58
"""The coordinates between which the middle lies, in widths of the image."""

PHRASES = (
    "a {size} {colour} {shape} on a {ground} ground",
    "{size} {colour} {shape}, {place} of a {ground} picture",
    "a {ground} ground with a {size} {colour} {shape} {place}",
    "on {ground}, {place}, there is a {colour} {shape}, {size}",
)
_PARTS = {"ground": r"(?:dark |light )?\w+", "place": r"at the [\w ]+"}
"""What a part of a phrase looks like, where it is more than a word."""

GROUNDS = tuple(f"{level}{name}" for level in ("", "dark ", "light ") for name in ("grey", *HUES))
"""What `ground_word` says of any colour."""
HELD_OUT = 2
"""Grounds of each coloured shape that training may do without: a tenth of the combinations."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an image of one shape shows, in words."""

    size: str  # one of `SIZES`
    colour: str
    shape: str
    ground: str  # as `ground_word` says
    place: str  # as `place_words` says


def ground_word(red: float, green: float, blue: float) -> str:
    """A word or two for a dull colour, given from 0 to 1: "grey" or one of `HUES`, alone or after "dark" or "light"."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    name = "grey" if saturation < GREYEST else HUES[round(hue * len(HUES)) % len(HUES)]
    return f"dark {name}" if value < DARKEST else f"light {name}" if value > LIGHTEST else name


def place_words(x: float, y: float) -> str:
    """Where the middle of a shape lies, from 0 at the left and the top to 1, such as "at the top left"."""
    across = "left" if x < NEAR else "right" if x > FAR else ""
    down = "top" if y < NEAR else "bottom" if y > FAR else ""
    return f"at the {' '.join(word for word in (down, across) if word) or 'centre'}"


def held_out_grounds(colour: str, shape: str) -> tuple[str, ...]:
    """The grounds that are held out of this coloured shape; every word is seen with others."""
    return tuple(sorted(GROUNDS, key=lambda ground: keyed_seed("held-out", colour, shape, ground))[:HELD_OUT])


def words_in(caption: str) -> dict[str, str] | None:
    """What a text in one of the `PHRASES` asks for, by the names of the fields of `Shown`; None for other texts."""
    found = (pattern.fullmatch(" ".join(caption.split())) for pattern in _PATTERNS)
    return next((match.groupdict() for match in found if match), None)


def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{(\w+)}", lambda part: f"(?P<{part[1]}>{_PARTS.get(part[1], '[a-z-]+')})", phrase))


_PATTERNS = tuple(map(_pattern, PHRASES))
