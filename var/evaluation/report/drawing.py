"""The means of drawing: one palette, charts by matplotlib and labelled tables of images, all as SVG text.

Colours are written as CSS variables, so that one picture serves light and dark pages. Nothing here knows a report.
"""

import base64
import html
import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from var.errors import UserError
from var.images import image_grid
from var.names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

PALETTE = {
    "paper": ("#ffffff", "#15181c"),
    "ink": ("#1c2126", "#e8eaed"),
    "muted": ("#5c6670", "#a0a8b1"),
    "line": ("#dde1e6", "#343a42"),
    "blue": ("#0069a9", "#58b2f0"),
    "orange": ("#c44e09", "#f59a5b"),
    "violet": ("#6f5a9e", "#b7a3e6"),
    "green": ("#3d7a1f", "#8ac46a"),
    "red": ("#b3261e", "#f28b82"),
    "teal": ("#00776f", "#3fc1b4"),
    "gold": ("#856100", "#e0b64a"),
    "pink": ("#b0267c", "#f08cc6"),
    "brown": ("#7d5033", "#cf9f80"),
    "cyan": ("#00708d", "#5cc4de"),
    "indigo": ("#4a4fc4", "#a0a6f5"),
}
"""Colours on light and on dark paper. Colour-blind readers tell blue from orange; marks differ in shape too."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
_LABEL = 40  # characters of a name beside an image
_GAP = -0.7  # value of the lines between images: dark on light paper, and visible on the black of digits


def style_variables() -> str:
    """CSS that gives the palette's names their colours, by the reader's preference."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in PALETTE.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in PALETTE.items())
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f":root{{color-scheme:light dark;{light}}}{dark}"


def image_table(
    images: Float[Tensor, "n c h w"],
    columns: int,
    *,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    magnify: int = 4,
) -> str:
    """Images in [-1, 1], row by row, as SVG around one PNG: every pixel a square, labels as crisp text.

    Images of more than 8 pixels are magnified less, so that labels can be read where the page shrinks the table.
    """
    magnify = max(1, min(magnify, 8 * magnify // max(images.shape[-2:])))
    column_labels, row_labels = ([shown(label, _LABEL) for label in labels] for labels in (column_labels, row_labels))
    grid = image_grid(images, columns, padding=2, magnify=magnify, background=_GAP)
    file = io.BytesIO()
    grid.save(file, format="PNG", optimize=True)
    left = max((7 * len(label) for label in row_labels), default=-10) + 10
    top = 22 if column_labels else 0
    cell_width, cell_height = grid.width / columns, grid.height / math.ceil(len(images) / columns)
    texts = [
        _text(left + (place + 0.5) * cell_width, top - 8, label, "middle") for place, label in enumerate(column_labels)
    ]
    texts += [
        _text(left - 8, top + (row + 0.5) * cell_height + 4, label, "end") for row, label in enumerate(row_labels)
    ]
    width, height = left + grid.width, top + grid.height
    picture = base64.b64encode(file.getvalue()).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"<style>{style_variables()} text{{font:12px {FONT};fill:var(--muted)}}</style>{''.join(texts)}"
        f'<image x="{left}" y="{top}" width="{grid.width}" height="{grid.height}" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{picture}"/></svg>'
    )


def _text(x: float, y: float, label: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(label)}</text>'


def chart(width: int, height: int, panels: int = 1) -> "tuple[Figure, list[Axes]]":
    """An empty figure of `width` x `height` pixels with `panels` axes side by side, in the style of the report."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError('charts need matplotlib, which is missing; pip install "next-scale[compare]"') from error
    # The SVG backend writes a point as a pixel at 72 dots per inch, so sizes below are pixels on the page.
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained", facecolor="none")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for one in axes:
        one.set_facecolor("none")
        one.set_axisbelow(True)
        one.grid(axis="y", color=LIGHT["line"], linewidth=0.8)
        one.tick_params(which="both", length=0, labelsize=12, labelcolor=LIGHT["muted"])
        one.xaxis.label.set(fontsize=12, color=LIGHT["muted"])
        one.yaxis.label.set(fontsize=12, color=LIGHT["muted"])
        for side in ("top", "right", "left"):
            one.spines[side].set_visible(False)
        one.spines["bottom"].set_color(LIGHT["line"])
    return figure, axes


def plain_log_ticks(axis: "Axis", between: Sequence[int] = (1, 2, 5)) -> None:
    """Tick labels of a logarithmic axis as plain numbers: 0.5, 10, 1,000."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=between))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:.3g}"))


def svg(figure: "Figure") -> str:
    """The figure as SVG text: real text in the page's font, colours as variables, the same bytes every time."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.StringIO()
    # The backend takes these two from nowhere else; the context puts the old values back.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "next-scale"}), warnings.catch_warnings():
        # Of what the backend's own font has not: the text is drawn in the fonts of the page.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        FigureCanvasSVG(figure).print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT, text)
    for name, color in LIGHT.items():
        text = text.replace(color, f"var(--{name})")
    return re.sub(r"(<svg[^>]*>)", lambda match: f"{match[1]}<style>{style_variables()}</style>", text, count=1)
