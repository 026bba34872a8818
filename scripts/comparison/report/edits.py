"""The same edit by all models that can edit, side by side: the right half of real images is redrawn."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from var.evaluation.report.drawing import image_table
from var.evaluation.report.html import Html, figure

MOST = 10
"""Images."""


def right_half(images: Shaped[Tensor, "n c h w"]) -> Bool[Tensor, "h w"]:
    """The mask of the edit."""
    mask = torch.zeros(images.shape[-2:], dtype=torch.bool)
    mask[:, images.shape[-1] // 2 :] = True
    return mask


def edits_figure(real: Float[Tensor, "n c h w"], edited: Mapping[str, Float[Tensor, "n c h w"]]) -> list[Html]:
    """Real images in [-1, 1], what is left of them, and what each model makes of that; nothing without a model."""
    if not edited:
        return []
    rows = {"test images": real, "what is kept": real.masked_fill(right_half(real), 0.0), **edited}
    picture = image_table(torch.cat(list(rows.values())), len(real), row_labels=list(rows), magnify=8)
    caption = (
        "The right half of test images is redrawn, the left one is kept. Does the seam show, and is it still one "
        "thing? These are the first images of their classes, each edited once."
    )
    return [figure(picture, caption, alt=f"Columns of a real image, its left half, and {len(edited)} edits of it.")]
