"""Pictures of others as images are made of them: upright, grey or RGB, without transparency, of 8 bits."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from var.foreign.pictures import BadImageError, opened_picture


def read_picture(source: Path | bytes, name: str, channels: int) -> Image.Image:
    """The picture in `source`, upright, in mode L (1 channel) or RGB (3); `name` stands for it in messages.

    Raises `BadImageError` for what is no whole picture or is too large, `UserError` for a file that may not be read.
    """
    if isinstance(source, Path) and source.is_symlink() and not source.exists():
        raise BadImageError(f"{name} must lead to a file, but the link is broken or a loop; repair or remove it")
    with opened_picture(source, name) as opened:
        return converted(opened, channels)


def converted(picture: Image.Image, channels: int) -> Image.Image:
    """A `picture` that somebody has opened or made, as `read_picture` gives that of a file.

    Of one whose pixels were read before it is not known any more whether it had 2 or 4 bits, by which Pillow spreads
    all levels but the one that is transparent.
    """
    transparent = _transparent_level(picture)
    return _convert(ImageOps.exif_transpose(picture), channels, transparent)


def _transparent_level(opened: Image.Image) -> int | None:
    """The level of grey that a picture declares transparent, as its pixels will have it; to be read before them."""
    level = opened.info.get("transparency")
    stored = [part.args for part in getattr(opened, "tile", ())]
    if stored == ["RGB;16B"] and isinstance(level, tuple):
        # Of colours of 16 bits Pillow keeps the upper 8, but would compare them with the lower 8 of this one.
        opened.info["transparency"] = tuple(part >> 8 for part in level)
    if not isinstance(level, int) or not opened.mode.startswith(("L", "I")):
        return None
    # Pillow spreads 2 and 4 bits over 0 to 255, but leaves this level as it is.
    return level * (85 if stored == ["L;2"] else 17 if stored == ["L;4"] else 1)


def _convert(image: Image.Image, channels: int, transparent: int | None) -> Image.Image:
    """The picture in mode L (1 channel) or RGB (3), transparency laid on white, 16 bits scaled to 8."""
    if transparent is not None or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        if image.mode.startswith("I"):
            levels = np.rint(values.clip(0, 65535) / 257).astype(np.uint8)
        else:
            levels = values.astype(np.uint8)
        image = Image.fromarray(
            levels if transparent is None else np.where(values == transparent, np.uint8(255), levels)
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")
