"""From an encoded picture, in a file or in memory, to an image of the size asked for; what cannot be read is named."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Generator, Tensor

from var.data.image_size import Size, image_size
from var.data.whole_numbers import as_whole
from var.errors import UserError
from var.foreign.converted_pictures import read_picture
from var.foreign.pictures import MOST_PIXELS, BadImageError
from var.images import from_uint8


@runtime_checkable
class Framing(Protocol):
    """An augmentation that chooses a part of the image, and can do so before a picture is brought to its size."""

    def __call__(self, image: Tensor, generator: Generator) -> Tensor:
        """A part of the image, in the size of the image."""
        ...

    def frame(self, picture: Image.Image, height: int, width: int, generator: Generator) -> Image.Image:
        """A part of `picture`, chosen by `generator`, of `height` x `width` pixels."""
        ...


class PictureData(ABC):
    """Data whose images are decoded from encoded pictures when they are needed.

    A picture is rotated as its EXIF says, laid on white if it has transparency, converted to grey (1 channel) or RGB
    (3), resized with Pillow's antialiased bicubic filter until it just covers the size (for a square: the shorter side
    fits), and cropped to it around the centre, or where a `Framing` says. The size is a side length or (height, width).
    """

    classes: tuple[str, ...]
    labels: Int64[Tensor, " n"]

    def __init__(self, *, size: Size, channels: SupportsIndex = 3):
        height, width = image_size(size)
        whole = as_whole(channels)
        if whole not in (1, 3):
            raise UserError(f"pictures give images of 1 (grey) or 3 (RGB) channels, got {channels}; choose one of them")
        self.shape = (whole, height, width)

    @abstractmethod
    def source(self, index: int) -> Path | bytes:
        """The encoded picture at `index`, or the path of its file."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """What messages call the picture at `index`."""

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`, float32 in [-1, 1]; raises `BadImageError` if it is not a whole picture."""
        _, height, width = self.shape
        return _tensor(crop_centre(cover(self.picture(index), height, width), height, width))

    def load_framed(self, index: int, framing: Framing, generator: Generator) -> Float[Tensor, "c h w"]:
        """Like `load`, with the part of the picture that `framing` chooses."""
        _, height, width = self.shape
        return _tensor(framing.frame(self.picture(index), height, width, generator))

    def picture(self, index: int) -> Image.Image:
        """The whole picture at `index`, upright, in mode L or RGB, if it can be brought to the size of the data."""
        channels, height, width = self.shape
        picture = read_picture(self.source(index), self.describe(index), channels)
        largest = max(height / picture.height, width / picture.width) ** 2 * picture.height * picture.width
        if largest > MOST_PIXELS:
            raise BadImageError(
                f"{self.describe(index)} must not be so long that to cover {height}x{width} takes more than "
                f"{MOST_PIXELS} pixels, got {picture.height}x{picture.width} (height x width); crop it"
            )
        return picture


def _tensor(picture: Image.Image) -> Float[Tensor, "c h w"]:
    pixels = torch.from_numpy(np.array(picture)).reshape(picture.height, picture.width, -1)
    return from_uint8(pixels.permute(2, 0, 1).contiguous())


def cover(picture: Image.Image, height: int, width: int) -> Image.Image:
    """`picture` resized until it just covers (`height`, `width`)."""
    scale = max(height / picture.height, width / picture.width)
    covered_height = max(height, round(picture.height * scale))
    covered_width = max(width, round(picture.width * scale))
    return picture.resize((covered_width, covered_height), Image.Resampling.BICUBIC)


def crop_centre(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of `picture`."""
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    return picture.crop((left, top, left + width, top + height))
