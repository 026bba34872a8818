"""Pictures that visitors give: opened by the rules for pictures of others, and brought to the model's shape."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from var.errors import UserError
from var.foreign.pictures import SUFFIXES, opened_picture
from var.images import from_uint8

MOST_BYTES = 20 * 2**20
"""Of a file."""

TYPES: list[str] = list(SUFFIXES)


def uploaded(path: str | None, shape: tuple[int, int, int]) -> Float[Tensor, "1 c h w"]:
    """The picture in a file in [-1, 1], upright, on white, cut to the model's proportions and scaled.

    Of an animation it is the first frame. Raises `UserError` for what is no whole picture, and for too large ones.
    """
    if path is None:
        raise UserError("a picture must be given, got none; upload one, or take one from Generate")
    file, (channels, height, width) = Path(path), shape
    if file.exists() and file.stat().st_size > MOST_BYTES:
        size = file.stat().st_size
        raise UserError(f"a picture must have at most {MOST_BYTES:,} bytes, got {size:,}; make it smaller")
    with opened_picture(file, "the picture") as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture).convert("RGB" if channels == 3 else "L")
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(picture)).reshape(1, height, width, channels)
    return from_uint8(pixels.permute(0, 3, 1, 2))
