"""Differentiable augmentation of what a discriminator sees (DiffAugment, Zhao et al. 2020, arXiv 2006.10738)."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Policy = Literal["colour", "translation", "cutout"]

TRANSLATION = 0.125  # of a side, at most, in either direction
CUTOUT = 0.5  # of a side, the edge of the square that is blanked


def diff_augment(
    images: Sequence[Float[Tensor, "batch c h w"]], policies: Sequence[Policy], generator: torch.Generator
) -> list[Float[Tensor, "batch c h w"]]:
    """Batches of images in [-1, 1], all changed alike: image i of every batch by the same draw.

    Colour moves brightness, saturation and contrast; translation moves the image over a grey ground; cutout blanks a
    square. Gradients pass. `generator` lives on the images' device; every policy draws the same numbers of it, whatever
    the others are.
    """
    augmented = list(images)
    for policy, change in (("colour", _colour), ("translation", _translate), ("cutout", _cut_out)):
        first = augmented[0]
        draws = torch.rand(3, len(first), 1, 1, 1, generator=generator, device=first.device)
        if policy in policies:
            augmented = [change(batch, draws.to(batch.dtype)) for batch in augmented]
    return augmented


def _colour(images: Tensor, draws: Float[Tensor, "3 batch 1 1 1"]) -> Tensor:
    brightness, saturation, contrast = draws
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images: Tensor, draws: Float[Tensor, "3 batch 1 1 1"]) -> Tensor:
    height, width = images.shape[2:]
    rows, columns = _rows_and_columns(images)
    rows = rows + _shift(draws[0], int(height * TRANSLATION))
    columns = columns + _shift(draws[1], int(width * TRANSLATION))
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    moved = images.flatten(2).gather(2, places.flatten(1)[:, None].expand(-1, images.shape[1], -1))
    return moved.view(images.shape) * inside


def _shift(draws: Tensor, furthest: int) -> Tensor:
    """Whole numbers from -furthest to furthest, all equally likely."""
    return (draws * (2 * furthest + 1)).long().clamp_max(2 * furthest) - furthest


def _cut_out(images: Tensor, draws: Float[Tensor, "3 batch 1 1 1"]) -> Tensor:
    cut = torch.ones_like(images[:, :1], dtype=torch.bool)
    for places, side, draw in zip(_rows_and_columns(images), images.shape[2:], draws, strict=False):
        edge = int(side * CUTOUT)
        # The centre may lie anywhere in the image, so that the square may reach over its border.
        start = (draw * side).long() - edge // 2
        cut = cut & (places >= start) & (places < start + edge)
    return images * ~cut


def _rows_and_columns(images: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the column of every place of an image, as grids that broadcast to it."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device)[:, None]
    return rows, torch.arange(width, device=images.device)[None, :]
