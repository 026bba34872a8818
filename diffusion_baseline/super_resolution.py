"""Enlarging images: what a super-resolution U-Net is told of the small one (Ho et al. 2022, arXiv 2106.15282)."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from var.conditions import Condition, Shown
from var.errors import UserError


@dataclass(frozen=True)
class Enlarging(Condition):
    """What each image of a batch is asked to show, and the small image of which it is made; guidance keeps the latter.

    Levels count from 0, a small image as it is; at level n it has the noise of timestep n - 1.
    """

    small: Float[Tensor, "batch c _h _w"] = field(kw_only=True)
    levels: Int[Tensor, " batch"] = field(kw_only=True)

    @classmethod
    def made_of(
        cls, condition: Condition, small: Float[Tensor, "batch c _h _w"], levels: Int[Tensor, " batch"]
    ) -> Self:
        """`condition` beside small images."""
        parts: dict[str, Any] = {part.name: getattr(condition, part.name) for part in fields(condition)}
        return cls(**{**parts, "small": small, "levels": levels})


def shrunken(images: Float[Tensor, "batch c h w"], size: tuple[int, int]) -> Float[Tensor, "batch c _h _w"]:
    """Small images: each pixel is the mean of those that it stands for."""
    return F.interpolate(images, size, mode="area")


def enlarged(
    shown: Shown, size: tuple[int, int], like: Float[Tensor, "batch c h w"]
) -> tuple[Float[Tensor, "batch c h w"], Int[Tensor, " batch"]]:
    """The small images of `size` in what is `shown`, as large as the images `like`, and their levels.

    Raises `UserError` where there are none, or others.
    """
    if not isinstance(shown, Enlarging):
        raise UserError(
            f"this network enlarges images of {size[0]}x{size[1]} (height x width), got none; "
            "use it as the super_resolution of a CascadePipeline"
        )
    channels, found = like.shape[1], tuple(shown.small.shape[1:])
    if found != (channels, *size):
        raise UserError(f"small images must be of the shape {(channels, *size)}, got {found}; resize them")
    small = shown.small.to(like.dtype)
    return F.interpolate(small, like.shape[2:], mode="bilinear", align_corners=False), shown.levels
