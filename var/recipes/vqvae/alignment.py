"""Latents that are alike where the image is: a tokenizer's places held against those of a frozen vision transformer."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from var.errors import UserError
from var.recipes.vqvae.dino import ForBackbone

LEAST_NORM = 1e-2
"""Shorter latents count as this long, so that a place of zeros (`vqvae.blank`) has a gradient of ordinary size."""


class FeatureAlignment(nn.Module):
    """How far the likenesses between an image's latents are from those between its features.

    The marginal distance matrix similarity of Yao et al. (2025, arXiv 2501.01423, Section 3.2): cosines of all pairs
    of places, of which differences up to `margin` are free. It compares likenesses, so that features of 384 numbers
    and latents of 16 need no projection between them.

    `backbone` is any timm vision transformer with dynamic image size; it stays as it is. It sees images of `channels`
    channels, 1 or 3, brought to the size at which it has one patch for each place.
    """

    def __init__(self, backbone: nn.Module, *, channels: int, margin: float) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise UserError(f"aligned latents need images of 1 or 3 channels, got {channels}; set alignment to 0")
        self.backbone = backbone.requires_grad_(False).eval()
        self.view = ForBackbone()
        self.margin = margin

    def forward(
        self, latents: Float[Tensor, "batch width h w"], images: Float[Tensor, "batch c _h _w"]
    ) -> Float[Tensor, ""]:
        """Mean excess over the margin, in [0, 2], for latents of images in [-1, 1]."""
        wanted = likenesses(self._features(images, latents.shape[2], latents.shape[3]), 1e-12)
        found = likenesses(latents.flatten(2).mT.float(), LEAST_NORM)
        return F.relu((found - wanted).abs() - self.margin).mean()

    @torch.no_grad()
    def _features(self, images: Tensor, height: int, width: int) -> Tensor:
        """The last block's tokens of the patches, (batch, height x width, channels)."""
        vit: Any = self.backbone
        patch = vit.patch_embed.patch_size[0]
        seen = self.view(images, (patch * height, patch * width))
        (tokens,) = vit.forward_intermediates(seen, indices=1, norm=True, output_fmt="NLC", intermediates_only=True)
        return tokens.float()


def likenesses(places: Float[Tensor, "batch length width"], least: float) -> Float[Tensor, "batch length length"]:
    """Cosines of all pairs of places; those shorter than `least` count as so long."""
    directions = F.normalize(places, dim=-1, eps=least)
    return directions @ directions.mT
