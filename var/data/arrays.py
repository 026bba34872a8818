"""Images that fit into memory."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.data.class_names import checked_names, numbered_names
from var.errors import UserError, suggestion
from var.images import check_images, from_uint8
from var.names import received

LAYOUTS = ("channels_last", "channels_first")


class ArrayData:
    """Images and labels held in memory, as one float32 tensor: four bytes per value.

    Args:
        images: uint8 array (n, height, width, channels) or (n, height, width) in [0, 255]; or float tensor
            (n, channels, height, width) in [-1, 1]. Any number of channels.
        labels: n integers in [0, number of classes).
        classes: names of the classes; "0", "1", ... up to the largest label if not given.
        name: what messages call the data, as in "digits[12]".
        layout: "channels_last" or "channels_first", where the shape leaves it open or is the other way round.
        licence, attribution: the terms of the images, and what their makers ask to be said.

    Raises `UserError` for wrong shapes, types, lengths, values out of range and NaN; for shapes that leave the layout
    open; and for float images of 256 levels in [0, 1], whose darker half would be missing.
    """

    def __init__(
        self,
        images: np.ndarray | Tensor,
        labels: Sequence[int] | np.ndarray | Tensor,
        classes: Sequence[str] | None = None,
        *,
        name: str = "images",
        layout: str | None = None,
        licence: str | None = None,
        attribution: str | None = None,
    ):
        if layout is not None and layout not in LAYOUTS:
            raise UserError(f"unknown layout {received(layout)}; {suggestion(layout, LAYOUTS)}")
        self.name, self.licence, self.attribution = name, licence, attribution
        self.images: Float[Tensor, "n c h w"] = _float_images(images, layout)
        self.labels: Int64[Tensor, " n"] = _integer_labels(labels, len(self.images))
        low, high = int(self.labels.min()), int(self.labels.max())
        self.classes = numbered_names(high + 1, name) if classes is None else checked_names(classes, name)
        if low < 0 or high >= len(self.classes):
            raise UserError(
                f"labels must lie in [0, {len(self.classes)}), got values from {low} to {high}; "
                "number the classes from 0 or give all class names"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Float[Tensor, "c h w"]:
        """The image at `index`, float32 in [-1, 1]; not to be written to."""
        return self.images[index]

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
        """A copy of the images at `indices`."""
        return self.images.index_select(0, indices)

    def describe(self, index: int) -> str:
        """Its name in messages, such as "digits[12]"."""
        return f"{self.name}[{index}]"

    def identity(self) -> str:
        """What the fingerprint takes in: a hash of all pixels."""
        return hashlib.blake2b(self.images.numpy().tobytes(), digest_size=16).hexdigest()


def _float_images(images: Any, layout: str | None) -> Float[Tensor, "n c h w"]:
    shape = tuple(getattr(images, "shape", ()))
    if isinstance(images, Tensor):
        if not images.is_floating_point():
            raise UserError(
                f"a tensor of images must be float (n, channels, height, width) in [-1, 1], got {images.dtype}; "
                "convert with var.images.from_uint8, or pass a uint8 numpy array (n, height, width, channels)"
            )
        floats = images.detach().to("cpu", torch.float32)
        if _channels_are_last(floats.shape, layout, usual="channels_first"):
            floats = floats.permute(0, 3, 1, 2)
    elif not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim not in (3, 4):
        found = f"{images.dtype} of shape {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise UserError(
            "an array of images must be uint8 (n, height, width) or (n, height, width, channels), "
            f"got {found}; convert it, or pass a float tensor in [-1, 1]"
        )
    else:
        if images.ndim == 3:
            images = images[:, None]
        elif _channels_are_last(images.shape, layout, usual="channels_last"):
            images = images.transpose(0, 3, 1, 2)
        floats = from_uint8(torch.from_numpy(np.ascontiguousarray(images)))
    if floats.numel() == 0:
        raise UserError(f"images must not be empty, got shape {shape}; give at least one image")
    check_images(floats, channels=floats.shape[1] if floats.ndim == 4 else -1)  # names the number of axes
    if isinstance(images, Tensor):
        _check_range(floats)
    return floats.contiguous()


def _channels_are_last(shape: Sequence[int], layout: str | None, *, usual: str) -> bool:
    """Whether the last axis holds the channels, as a `layout` or the shape says; else `UserError`.

    An array is taken in its `usual` layout unless its shape speaks for the other one, or, of bytes, for both: a picture
    has 1, 3 or 4 channels, and hardly so few rows or columns.
    """
    if layout is not None or len(shape) != 4:
        return layout == "channels_last" and len(shape) == 4
    _, second, third, last = shape
    if usual == "channels_first":
        clear = not (last in (1, 3, 4) and min(second, third) > 4)
    else:
        few = (1, 3) if last in (1, 3) else (1, 3, 4)
        clear = (last in (1, 3, 4) and second not in few) or second == third == last == 1
    if not clear:
        raise UserError(
            f"it must be clear which axis holds the channels, got shape {tuple(shape)}, which {usual} would make "
            f'{last if usual == "channels_last" else second} channels; move the axis, or say layout="channels_last" or '
            'layout="channels_first"'
        )
    return usual == "channels_last"


def _check_range(images: Float[Tensor, "n c h w"]) -> None:
    """Refuse 8-bit images scaled to [0, 1]: those in [-1, 1] have no level at 0, and darker ones than 0."""
    if images.min() != 0 or images.max() > 1:
        return
    levels = images * 255
    if (levels - levels.round()).abs().max() < 1e-3 and ((images > 0) & (images < 1)).any():
        raise UserError(
            "float images must lie in [-1, 1], got the levels k / 255 of [0, 1]; scale them by 2 x - 1, or pass uint8"
        )


def _integer_labels(labels: Any, length: int) -> Int64[Tensor, " n"]:
    try:
        given = labels.detach().cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"labels must be integers, got {type(labels).__name__}; pass one class index per image"
        ) from error
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise UserError(f"labels must be integers, got {given.dtype}; pass one class index per image")
    if isinstance(labels, (list, tuple)) and any(isinstance(label, (bool, np.bool_)) for label in labels):
        raise UserError("labels must be integers, got True or False among them; pass one class index per image")
    if given.shape != (length,):
        raise UserError(
            f"labels must be one per image, {length} in all, got shape {tuple(given.shape)}; match the lengths"
        )
    return given.to(torch.int64)
