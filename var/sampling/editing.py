"""The images that a call starts from and the masks of what is redrawn in them, with one meaning in both paradigms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float64
from PIL import Image
from torch import Tensor

from var.errors import UserError
from var.images import check_images

_Listed = Sequence[Image.Image] | Sequence[np.ndarray] | Sequence[Tensor]
GivenImages = Image.Image | _Listed | np.ndarray | Tensor
"""An image for each that is made, or one for all of them; see `given_images`."""
GivenMasks = Image.Image | _Listed | np.ndarray | Tensor
"""A mask for each image, or one for all of them; see `given_masks`."""

MODES = {1: "L", 3: "RGB"}
"""Of pictures, by their channels."""


def given_images(images: GivenImages, *, channels: int, size: tuple[int, int] | None) -> Float64[Tensor, "batch c h w"]:
    """Images of a call in [-1, 1]; in float64, from which every level and every share of one comes back to the bit.

    They are given as pipelines return them: pictures, float arrays NHWC or tensors NCHW in [0, 1], or a list of such;
    as uint8 of these shapes; or as floats in [-1, 1], which have something negative: an image without it is taken to
    lie in [0, 1], whichever others are beside it.
    Raises `UserError` for others, and for those of another size (height, width; None is any) or number of channels.
    """
    images = _joined(images, "images")
    values = _tensor(images, "images", MODES.get(channels))
    if isinstance(images, np.ndarray) and values.ndim == 4:
        values = values.permute(0, 3, 1, 2)
    levels = values.dtype == torch.uint8
    if levels:
        values = values.double() / 127.5 - 1
    check_images(values, channels=channels, size=size)
    if not len(values):
        raise UserError("a call needs at least one image to start from, got none; pass some")
    values = values.detach().double()
    signed = (values.amin(dim=(1, 2, 3), keepdim=True) < 0) | levels
    return torch.where(signed, values, 2 * values - 1)


def given_masks(masks: GivenMasks, *, size: tuple[int, int]) -> Bool[Tensor, "batch 1 h w"]:
    """Masks of a call, True where an image is redrawn.

    They are given as bools, or as numbers that are 0 or 1: (n, height, width), with or without an axis for one channel
    behind n, or (height, width) for all images; or as pictures of black, and white where an image is redrawn.
    Raises `UserError` for others, and for those of another size.
    """
    masks = _joined(masks, "masks")
    values = _tensor(masks, "masks", "L")
    if _pictures(masks):
        values = values[:, 0].double() / 255
    shape = tuple(values.shape)
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3 or tuple(values.shape[1:]) != size:
        raise UserError(
            f"masks must be (n, {size[0]}, {size[1]}) or ({size[0]}, {size[1]}), as the images are, got {shape}; "
            "resize them or move axes"
        )
    if not len(values):
        raise UserError("a call needs at least one mask, got none; pass one for all images or one for each")
    if values.is_complex():
        raise UserError(f"masks must be binary, True or 1 where an image is redrawn, got {values.dtype}; pass bools")
    found = values.unique()
    if not bool(((found == 0) | (found == 1)).all()):
        raise UserError(
            f"masks must be binary, True or 1 where an image is redrawn, got values from {found[0].item():.4g} to "
            f"{found[-1].item():.4g}; compare them with a threshold"
        )
    return (values != 0)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Images that a call starts from, and masks of what it redraws in them; what else is kept, paradigms say."""

    images: Float64[Tensor, "images c h w"]
    masks: Bool[Tensor, "masks 1 h w"] | None = None  # True is redrawn; None: everything is

    @property
    def counts(self) -> dict[str, int | None]:
        """For how many images there is what; None where one stands for any number."""
        given = {"images": self.images} | ({} if self.masks is None else {"masks": self.masks})
        return {name: None if len(values) == 1 else len(values) for name, values in given.items()}

    @classmethod
    def of(cls, shape: tuple[int, int, int], images: GivenImages, *masks: GivenMasks, **settings: Any) -> Self:
        """That of a call, of images of this `shape` (channels, height, width); errors as for what is given."""
        channels, *size = shape
        start = given_images(images, channels=channels, size=(size[0], size[1]))
        redrawn = given_masks(*masks, size=(size[0], size[1])) if masks else None
        return cls(images=start, masks=redrawn, **settings)


def _pictures(given: Any) -> list[Image.Image]:
    """The pictures that were given; none where something else was."""
    listed = [given] if isinstance(given, Image.Image) else given if isinstance(given, list | tuple) else []
    return list(listed) if all(isinstance(each, Image.Image) for each in listed) else []


def _joined(given: Any, name: str) -> Any:
    """What was given; of a list of arrays, or of tensors, one of them all."""
    if not isinstance(given, list | tuple):
        return given
    if not given:
        raise UserError(f"a call needs at least one of its {name}, got an empty {type(given).__name__}; pass some")
    for kind, join in ((Tensor, torch.stack), (np.ndarray, np.stack)):
        if all(isinstance(each, kind) for each in given):
            if len(shapes := sorted({tuple(each.shape) for each in given})) > 1:
                raise UserError(f"{name} must be of one shape, got {', '.join(map(str, shapes))}; resize them")
            if len(types := sorted({str(each.dtype) for each in given})) > 1:
                raise UserError(f"{name} must be of one type of number, got {', '.join(types)}; convert them")
            return join(list(given))
    return given


def _tensor(given: Any, name: str, mode: str | None) -> Tensor:
    """What was given, as it is; pictures, which must have the `mode`, as uint8 NCHW."""
    if isinstance(given, Tensor):
        return given
    pictures = _pictures(given)
    if pictures:
        found = sorted({f"{each.mode} {each.width}x{each.height}" for each in pictures})
        if len(found) > 1 or pictures[0].mode not in (mode, "1" if mode == "L" else mode):
            raise UserError(
                f"{name} must be pictures of one size and of mode {mode}, got {', '.join(found)}; convert them"
            )
        given = np.stack([np.asarray(each.convert(mode)) for each in pictures])
        return torch.from_numpy(given.reshape(*given.shape[:3], -1)).permute(0, 3, 1, 2)
    if not isinstance(given, np.ndarray):
        raise UserError(f"{name} must be pictures, an array or a tensor, got {type(given).__name__}; convert them")
    try:
        return torch.from_numpy(given.astype(given.dtype.newbyteorder("=")))
    except TypeError as error:
        raise UserError(f"{name} must be an array of numbers, got {given.dtype}; convert it") from error
