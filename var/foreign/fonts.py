"""Fonts of others: colour glyphs, drawn by Pillow with the shaping that joins sequences into one picture."""

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

from var.errors import UserError, first_line
from var.foreign.regular import open_regular


@lru_cache(maxsize=16)
def opened_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The font in a file at `size` pixels per em, shaped by raqm.

    Raises `UserError` where Pillow was built without raqm, which alone draws a joined sequence (a family, a flag, a
    keycap) as one picture; for a file that may not be read or is no font; and for a size that a font of bitmaps has
    not.
    """
    if not features.check("raqm"):
        raise UserError(
            "emoji need a Pillow with raqm, which draws joined sequences as one picture, but this one has none; "
            "install the wheel of Pillow from PyPI (pip install --force-reinstall --only-binary :all: pillow)"
        )
    open_regular(path, "a font").close()
    try:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise UserError(
            f"{path} must be a font with glyphs of {size} pixels, but: {first_line(error)}; install it again"
        ) from error
