"""Pictures of others: which are taken, how large they may be, and how one is opened."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from var.errors import UserError, first_line
from var.foreign.regular import MissingError, open_regular
from var.names import shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
"""Of files that are pictures, in training data and in samples alike."""
ACCEPTED = ", ".join(suffix[1:] for suffix in SUFFIXES)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # nothing else is even tried: some of Pillow's run programs
MOST_PIXELS = 64 * 2**20
"""Larger pictures are refused before they are decoded: a file of 17 KB can declare gigabytes."""


class BadImageError(UserError):
    """A picture that is not whole, or not to be trusted; the message names it."""


@contextmanager
def opened_picture(
    source: Path | bytes, name: object = None, *, formats: tuple[str, ...] = FORMATS
) -> Iterator[Image.Image]:
    """The picture in a file or in memory, decoded as far as the block asks for; `name` (the path) is for messages.

    Raises `BadImageError` for what is no whole picture, has more than `MOST_PIXELS`, or fails inside the block, and
    `UserError` for a file that may not be read and for a disk that fails.
    """
    called = shown(source if name is None and isinstance(source, Path) else name or "the picture")
    try:
        with warnings.catch_warnings():
            # Decompression bombs meet our rule, which is the stricter one; of odd metadata nobody needs to know.
            warnings.simplefilter("ignore")
            with (
                io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, "a picture") as file,
                Image.open(file, formats=formats) as opened,
            ):
                width, height = opened.size
                if width * height > MOST_PIXELS:
                    raise _too_large(called, f"{width}x{height}")
                yield opened
    except MissingError as error:
        raise BadImageError(f"{called} must lead to a file, but there is none; restore or remove it") from error
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(called, "far more") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds for broken files
        if isinstance(error, OSError) and error.errno:
            # The disk or the network, and not the picture: to pass over it would make runs differ.
            raise UserError(f"{called} must be readable, got: {error.strerror}; look at the disk") from error
        size = len(source) if isinstance(source, bytes) else source.stat().st_size if source.exists() else "no"
        raise BadImageError(
            f"{called} must be a whole {ACCEPTED} image, got {size} bytes that cannot be decoded "
            f"({_reason(error)}); replace or remove it"
        ) from error


def _reason(error: Exception) -> str:
    # Pillow adds the number of the open file, which would be another one in every process.
    return "cannot identify image file" if isinstance(error, UnidentifiedImageError) else shown(first_line(error))


def _too_large(name: str, found: str) -> BadImageError:
    return BadImageError(f"{name} must have at most {MOST_PIXELS} pixels, got {found}; scale the image down")
