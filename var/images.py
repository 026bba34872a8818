"""Value ranges, the one way to uint8, and the way from tensors to pictures.

Inside this package an image is a float tensor, channels first, in [-1, 1]; on disk and for metrics it is uint8.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from var.errors import UserError, suggestion
from var.files import atomic_file
from var.names import received

RANGE_TOLERANCE = 1e-4
"""How far float images may lie outside [-1, 1]: rounding in resizing and in half precision is not a mistake."""

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet's images in [0, 1]: networks that were trained on them take images so normalised."""

CHUNK_PIXELS = {"cpu": 2**16}
"""Pixels of the images that are coded together: one of 256x256 on a CPU, which gains nothing from more."""
MANY_PIXELS = 2**20
"""The same on other devices, which idle with fewer: 16 of 256x256."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Images (batch, channels, height, width) for a call that are known to lie in [-1, 1].

    Without that word a call takes floats to lie in [0, 1] where an image has nothing negative, however bright it is.
    """

    images: Tensor


ROUNDINGS = ("nearest", "truncate", "half-up")
"""How levels 127.5 (x + 1) become whole: to the nearest (a half to the even one), downwards as the official samplers of
VAR and ADM do, or by adding 1/2 and going downwards as DiT's does. Going downwards leaves images half a level darker.
"""


def to_uint8(images: Float[Tensor, "*any"], rounding: str = "nearest") -> UInt8[Tensor, "*any"]:
    """Images in [-1, 1] as uint8 in [0, 255]: 127.5 (x + 1), clamped, made whole as one of `ROUNDINGS` says.

    Raises `UserError` for NaN, which has no colour, and for an unknown rounding.
    """
    if rounding not in ROUNDINGS:
        raise UserError(f"unknown rounding {received(rounding)}; {suggestion(rounding, ROUNDINGS)}")
    if torch.isnan(images).any():
        raise UserError("images must be numbers to become uint8, got NaN; look for a diverged model or a broken file")
    values = images.float().clamp(-1, 1)
    # Conversion goes downwards. Each form is its owner's to the bit: ties and last digits differ otherwise.
    if rounding == "half-up":
        return (127.5 * values + 128).clamp(max=255).to(torch.uint8)
    levels = (values + 1) * 127.5
    return (levels if rounding == "truncate" else levels.round()).to(torch.uint8)


def from_uint8(images: UInt8[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Images of uint8 in [0, 255] as float32 in [-1, 1]: x / 127.5 - 1; `to_uint8`, to the nearest, undoes it."""
    return images.float() / 127.5 - 1


def check_images(images: Tensor, *, channels: int, size: tuple[int, int] | None = None, name: str = "images") -> None:
    """Raise `UserError` unless `images` are finite floats (batch, `channels`, height, width) in [-1, 1].

    `size` is the (height, width) required; `name` stands for the images in the message.
    """
    if not isinstance(images, Tensor):
        raise UserError(
            f"{name} must be a tensor, got {type(images).__name__}; convert them, for example by torch.tensor"
        )
    if images.is_meta or images.is_nested or images.layout is not torch.strided:
        raise UserError(
            f"{name} must be dense and have values, got a {images.layout} tensor on {images.device}; bring them here"
        )
    if not images.is_floating_point() or images.dtype.itemsize < 2:
        raise UserError(f"{name} must be float in [-1, 1], got {images.dtype}; convert with var.images.from_uint8")
    if images.ndim != 4:
        shape = tuple(images.shape)
        raise UserError(f"{name} must be (batch, channels, height, width), got shape {shape}; add or move axes")
    if images.shape[1] != channels:
        raise UserError(
            f"{name} must have {channels} channel(s) as second axis, got {images.shape[1]} in shape "
            f"{tuple(images.shape)}; convert them or move the channel axis"
        )
    height, width = images.shape[2:]
    if size is not None and (height, width) != size:
        raise UserError(
            f"{name} must be {size[0]}x{size[1]} (height x width), got {height}x{width}; resize or crop them"
        )
    if not height * width:
        raise UserError(f"{name} must have pixels, got {height}x{width} (height x width); pass larger ones")
    if images.numel() == 0:
        return
    low, high = torch.aminmax(images.detach())
    low, high = low.item(), high.item()
    # aminmax passes NaN on, and every comparison with NaN is false.
    if not (low >= -1 - RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
        if not torch.isfinite(images).all():
            raise UserError(f"{name} must be finite, got NaN or infinity; look for a division by zero or a broken file")
        raise UserError(
            f"{name} must lie in [-1, 1], got values from {low:.4g} to {high:.4g}; "
            "scale them (2 x - 1 for [0, 1], x / 127.5 - 1 for [0, 255])"
        )


def images_at_once(size: tuple[int, int], device: torch.device) -> int:
    """How many images of (height, width) are brought to latents, or back, together: memory is that of a few."""
    return max(CHUNK_PIXELS.get(device.type, MANY_PIXELS) // (size[0] * size[1]), 1)


def to_pil(images: Float[Tensor, "batch c h w"], rounding: str = "nearest") -> list[Image.Image]:
    """Images in [-1, 1] as pictures: 1 channel gives mode L, 3 give RGB; `UserError` for other counts."""
    channels = images.shape[1]
    if channels not in (1, 3):
        raise UserError(f"only 1 or 3 channels can be shown, got {channels}; choose the channels to show")
    pixels = to_uint8(images, rounding).permute(0, 2, 3, 1).cpu().numpy()
    if channels == 1:
        pixels = pixels[..., 0]
    return [Image.fromarray(picture) for picture in pixels]


def image_grid(
    images: Float[Tensor, "batch c h w"],
    columns: int,
    *,
    padding: int = 1,
    magnify: int = 1,
    background: float = 1.0,
) -> Image.Image:
    """Images in [-1, 1] side by side, row by row, in `columns` columns.

    Each pixel becomes a square of side `magnify`; `padding` pixels (not magnified) of value `background`, in [-1, 1],
    surround every image, and fill the places that the last row leaves empty.
    """
    count = len(images)
    if count == 0 or columns < 1:
        raise UserError(f"a grid needs at least 1 image and 1 column, got {count} and {columns}; pass more")
    large = repeat(images, "n c h w -> n c (h down) (w right)", down=magnify, right=magnify)
    cells = F.pad(large, (padding, 0, padding, 0), value=background)
    empty = cells.new_full((-count % columns, *cells.shape[1:]), background)
    canvas = rearrange([*cells, *empty], "(row column) c h w -> 1 c (row h) (column w)", column=columns)
    return to_pil(F.pad(canvas, (0, padding, 0, padding), value=background))[0]


def save_png(image: Image.Image, path: Path | str, metadata: dict[str, str] | None = None) -> None:
    """Write a PNG whole or not at all, with `metadata` as its text chunks; `UserError` if the place is not writable."""
    text = PngInfo()
    for key, value in (metadata or {}).items():
        text.add_itxt(key, value)
    with atomic_file(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=text)


def format_images(images: Float[Tensor, "batch c h w"], output_type: str) -> Any:
    """Images in [-1, 1] as users ask for them: "pil", "pt" (float NCHW in [0, 1]) or "np" (float NHWC in [0, 1])."""
    if output_type == "pil":
        return to_pil(images)
    wide = images if images.dtype == torch.float64 else images.float()
    unit = ((wide.clamp(-1, 1) + 1) / 2).float()
    if output_type == "pt":
        return unit
    if output_type == "np":
        return unit.permute(0, 2, 3, 1).cpu().numpy()
    raise UserError(f"unknown output_type {received(output_type)}; {suggestion(output_type, ('pil', 'pt', 'np'))}")
