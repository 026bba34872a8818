"""Images that fit into memory."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.errors import UserError
from var.images import check_images, from_uint8


class ArrayData:
    """Images and labels held in memory, as one float32 tensor: four bytes per value.

    Args:
        images: uint8 array (n, height, width, channels) or (n, height, width) in [0, 255]; or float tensor
            (n, channels, height, width) in [-1, 1]. Any number of channels.
        labels: n integers in [0, number of classes).
        classes: names of the classes; "0", "1", ... up to the largest label if not given.
        name: what messages call the data, as in "digits[12]".

    Raises `UserError` for wrong shapes, types, lengths, values out of range and NaN.
    """

    def __init__(
        self,
        images: np.ndarray | Tensor,
        labels: Sequence[int] | np.ndarray | Tensor,
        classes: Sequence[str] | None = None,
        *,
        name: str = "images",
    ):
        self.name = name
        self.images: Float[Tensor, "n c h w"] = _float_images(images)
        self.labels: Int64[Tensor, " n"] = _integer_labels(labels, len(self.images))
        largest = int(self.labels.max())
        self.classes = tuple(str(label) for label in range(largest + 1)) if classes is None else tuple(classes)
        if len(set(self.classes)) != len(self.classes):
            raise UserError(f"class names must differ from each other, got {self.classes}; rename the doubles")
        if int(self.labels.min()) < 0 or largest >= len(self.classes):
            raise UserError(
                f"labels must lie in [0, {len(self.classes)}), got values from {int(self.labels.min())} to {largest}; "
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


def _float_images(images: np.ndarray | Tensor) -> Float[Tensor, "n c h w"]:
    if isinstance(images, Tensor):
        if not images.is_floating_point():
            raise UserError(
                f"a tensor of images must be float (n, channels, height, width) in [-1, 1], got {images.dtype}; "
                "convert with var.images.from_uint8, or pass a uint8 numpy array (n, height, width, channels)"
            )
        floats = images.detach().to(torch.float32)
    elif images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise UserError(
            "an array of images must be uint8 (n, height, width) or (n, height, width, channels), "
            f"got {images.dtype} of shape {images.shape}; convert it, or pass a float tensor in [-1, 1]"
        )
    else:
        channels_last = images[..., None] if images.ndim == 3 else images
        channels_first = np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2))
        floats = from_uint8(torch.from_numpy(channels_first))
    if floats.numel() == 0:
        raise UserError(f"images must not be empty, got shape {tuple(images.shape)}; give at least one image")
    check_images(floats, channels=floats.shape[1] if floats.ndim == 4 else -1)  # names the number of axes
    return floats.contiguous()


def _integer_labels(labels: Sequence[int] | np.ndarray | Tensor, length: int) -> Int64[Tensor, " n"]:
    try:
        given = labels.detach().cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"labels must be integers, got {type(labels).__name__}; pass one class index per image"
        ) from error
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise UserError(f"labels must be integers, got {given.dtype}; pass one class index per image")
    if given.shape != (length,):
        raise UserError(
            f"labels must be one per image, {length} in all, got shape {tuple(given.shape)}; match the lengths"
        )
    return given.to(torch.int64)
