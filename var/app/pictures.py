"""Drawn pictures as files that the page shows and that can be downloaded."""

import hashlib
import os
from pathlib import Path

from PIL import Image

from var.images import save_png
from var.sampling.record import KEY


def file_of(picture: Image.Image) -> str:
    """Path of a PNG file of the picture and its record, among those that gradio serves and removes when they are old.

    Given a picture, gradio would write that file in place whenever the picture is shown again: a browser that was just
    being sent it, in this tab or another, got a part of it. Here the new file takes the place of the old one.
    """
    record = picture.info[KEY]
    name = hashlib.blake2b(picture.tobytes() + record.encode(), digest_size=16).hexdigest()
    path = Path(os.environ["GRADIO_TEMP_DIR"], name, "image.png")
    save_png(picture, path, {KEY: record})
    return str(path)
