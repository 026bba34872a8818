"""What a mark of a plot says when it is pointed at or reached by the keyboard: within the picture, without a script.

How it looks is said by the style of the page.
"""

import html
from collections.abc import Iterable, Sequence

LETTER, LINE, MARGIN = 6.6, 16, 7.0
"""About the size of a letter, of a line and of the space around them, in pixels."""


def with_hover(picture: str, marks: Iterable[tuple[float, float, Sequence[str]]], size: tuple[float, float]) -> str:
    """An SVG of this (width, height) with lines of text for marks at (x, y), counted from the upper left corner."""
    groups = "".join(_mark(x, y, lines, size) for x, y, lines in marks)
    return picture.replace("</svg>", f"{groups}</svg>")


def _mark(x: float, y: float, lines: Sequence[str], size: tuple[float, float]) -> str:
    width, height = LETTER * max(map(len, lines)) + 2 * MARGIN, LINE * len(lines) + 2 * MARGIN
    left = x + 14 if x + 14 + width < size[0] else x - 14 - width
    top = min(max(y - height / 2, 0), size[1] - height)
    texts = "".join(
        f'<text x="{left + MARGIN:.1f}" y="{top + MARGIN + LINE * (place + 0.75):.1f}">{html.escape(line)}</text>'
        for place, line in enumerate(lines)
    )
    label = html.escape(", ".join(lines))
    return (
        f'<g class="mark" tabindex="0" role="img" aria-label="{label}"><circle cx="{x:.1f}" cy="{y:.1f}" r="10"/>'
        f'<g class="tip"><rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4"/>{texts}'
        "</g></g>"
    )
