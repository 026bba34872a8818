"""The images of a call, and the masks of what it redraws in them: how they are given, with one meaning everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float64, UInt8
from PIL import Image
from torch import Tensor

from var.conditions import is_dense
from var.errors import UserError, first_line
from var.foreign.converted_pictures import converted
from var.images import Signed, check_images
from var.names import received
from var.typed import MOST_LISTED

_Listed = Sequence[Image.Image] | Sequence[np.ndarray] | Sequence[Tensor]
GivenImages = Image.Image | _Listed | np.ndarray | Tensor | Signed
"""An image for each that is made, or one for all of them; see `given_images`."""
GivenMasks = Image.Image | _Listed | np.ndarray | Tensor
"""A mask for each image, or one for all of them; see `given_masks`."""


def given_images(
    images: GivenImages,
    *,
    channels: int,
    size: tuple[int, int] | None,
    rule: str = "a call needs at least one image to start from",
) -> Float64[Tensor, "batch c h w"]:
    """Images of a call in [-1, 1]; in float64, from which every level and every share of one comes back to the bit.

    They are given as pipelines return them: pictures, float arrays NHWC or tensors NCHW in [0, 1], or a list of such;
    as uint8 of these shapes; or as floats in [-1, 1], which have something negative: an image without it is taken to
    lie in [0, 1], whichever others are beside it, unless they are given as `Signed`. An array may also be one image,
    HWC, or HW of grey. Pictures become grey or RGB as those in files do.
    Raises `UserError` for others, for those of another size (height, width; None is any) or number of channels, and by
    the `rule` for none.
    """
    known, listed = isinstance(images, Signed), isinstance(images, list | tuple)
    given = _joined(images.images if isinstance(images, Signed) else images, "images")
    values = _tensor(given, "images", channels)
    values = values.cpu() if values.device.type == "mps" else values  # which has no float64
    if isinstance(given, np.ndarray):
        values = _channels_first(values, channels, listed)
    levels = values.dtype == torch.uint8
    if levels:
        values = values.double() / 127.5 - 1
    check_images(values, channels=channels, size=size)
    if not len(values):
        raise UserError(f"{rule}, got none; pass some")
    values = values.detach().double()
    if known or levels:
        return values
    signed = values.amin(dim=(1, 2, 3), keepdim=True) < 0
    return torch.where(signed, values, 2 * values - 1)


def given_masks(masks: GivenMasks, *, size: tuple[int, int]) -> Bool[Tensor, "batch 1 h w"]:
    """Masks of a call, True where an image is redrawn.

    They are given as bools, or as numbers that are 0 or 1: (n, height, width), with or without an axis for one channel
    behind n, or (height, width) for all images; or as pictures of black, and white where an image is redrawn, which
    become grey as those in files do.
    Raises `UserError` for others, and for those of another size.
    """
    masks = _joined(masks, "masks")
    values = _tensor(masks, "masks", 1)
    if _pictures(masks):
        return _painted(values, size)
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
        lowest, highest = found[0].item(), found[-1].item()
        raise UserError(
            f"masks must be binary, True or 1 where an image is redrawn, got values from {lowest:.4g} to {highest:.4g}"
            f"{' and others between' if (lowest, highest) == (0, 1) else ''}; compare them with a threshold"
        )
    return (values != 0)[:, None]


def _painted(levels: UInt8[Tensor, "n 1 h w"], size: tuple[int, int]) -> Bool[Tensor, "n 1 h w"]:
    """Where masks given as pictures are white; raises `UserError` for another size and for pixels of grey."""
    if tuple(levels.shape[2:]) != size:
        raise UserError(
            f"masks must be {size[0]}x{size[1]} pixels (height x width) as the model's images are, got "
            f"{levels.shape[2]}x{levels.shape[3]}; resize them"
        )
    grey = int(((levels > 0) & (levels < 255)).sum())
    if grey:
        low, high = int(levels.min()), int(levels.max())
        raise UserError(
            f"masks must be binary, black (0) and white (255) where an image is redrawn, got levels from {low} "
            f"to {high}, where {grey} of {levels.numel()} pixels are neither black nor white; choose a threshold, as "
            "in mask.convert('L').point(lambda level: 255 * (level > threshold)) of Pillow"
        )
    return levels > 0


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
    def fitting(cls, given: Any, shape: tuple[int, int, int]) -> Self:
        """`given` as the argument of a call, of images of this `shape`; raises `UserError` for what does not fit."""
        if type(given) is not cls:
            found = f"that of {type(given).__module__}" if isinstance(given, Start) else received(given)
            raise UserError(
                f"edit must be the {cls.__name__} of this pipeline, or None for images out of nothing, got {found}; "
                "call its method edit or variations"
            )
        channels, *size = shape
        check_images(given.images, channels=channels, size=(size[0], size[1]), name="images of an edit")
        if not len(given.images):
            raise UserError("an edit needs at least one image to start from, got none; pass some")
        masks = given.masks
        if masks is None or (is_dense(masks) and masks.dtype == torch.bool and masks.shape == (len(masks), 1, *size)):
            return given
        found = f"{masks.dtype} {tuple(masks.shape)}" if is_dense(masks) else received(masks)
        raise UserError(
            f"masks of an edit must be bools (n, 1, {size[0]}, {size[1]}), got {found}; call the method edit"
        )

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
    for each in given if isinstance(given, list | tuple) else [given]:
        if isinstance(each, Tensor) and (not is_dense(each) or (each.is_floating_point() and each.itemsize < 2)):
            raise UserError(f"{name} must be dense tensors of usual numbers, got {received(each)}; convert them")
        if isinstance(each, Tensor | np.ndarray) and each.ndim and len(each) > MOST_LISTED:
            raise UserError(f"a call takes at most {MOST_LISTED} of its {name}, got {len(each)}; make several calls")
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


def _tensor(given: Any, name: str, channels: int) -> Tensor:
    """What was given, as it is; pictures as uint8 NCHW of so many channels."""
    if isinstance(given, Tensor):
        return given
    if pictures := _pictures(given):
        return _pixels(pictures, name, channels)
    if not isinstance(given, np.ndarray):
        raise UserError(f"{name} must be pictures, an array or a tensor, got {type(given).__name__}; convert them")
    try:
        return torch.from_numpy(given.astype(given.dtype.newbyteorder("=")))
    except TypeError as error:
        raise UserError(f"{name} must be an array of numbers, got {given.dtype}; convert it") from error


def _pixels(pictures: Sequence[Image.Image], name: str, channels: int) -> UInt8[Tensor, "n c h w"]:
    """Of pictures, which must be of one size."""
    if channels not in (1, 3):
        raise UserError(f"{name} of {channels} channels cannot be pictures, got some; pass an array or a tensor")
    if unknown := sorted({each.mode for each in pictures} & {"F", "I"}):
        raise UserError(
            f"{name} must be pictures whose levels have a known range, got mode {unknown[0]}; pass an array, as in "
            "np.asarray(picture) brought to [0, 1]"
        )
    try:
        upright = [converted(each, channels) for each in pictures]
    except UserError:
        raise
    except (ValueError, OSError) as error:  # a closed one, or one whose file is damaged
        raise UserError(f"{name} must be pictures that can be read: {first_line(error)}; open them anew") from error
    if len(sizes := sorted({f"{each.height}x{each.width}" for each in upright})) > 1:
        raise UserError(f"{name} must be pictures of one size (height x width), got {', '.join(sizes)}; resize them")
    pixels = np.stack([np.asarray(each) for each in upright])
    return torch.from_numpy(pixels.reshape(*pixels.shape[:3], channels)).permute(0, 3, 1, 2)


def _channels_first(values: Tensor, channels: int, listed: bool) -> Tensor:
    """Arrays NHWC, or one of HWC, as NCHW; those of grey may be without C. `listed` ones were joined along N."""
    shape = tuple(values.shape)[1:] if listed else tuple(values.shape)
    if channels == 1 and len(shape) == 2:
        values = values[..., None]
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[3] != channels:
        raise UserError(
            f"images must be arrays (n, height, width, {channels}) or (height, width, {channels}), or tensors "
            f"(n, {channels}, height, width), got an array of shape {shape}; move its axes"
        )
    return values.permute(0, 3, 1, 2)
