"""Networks that tell images from reconstructions: patches seen from nearby, and frozen features seen from afar."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from var.errors import UserError
from var.recipes.vqvae.dino import ForBackbone

PatchNorm = Literal["group", "batch", "spectral", "none"]


class PatchGAN(nn.Module):
    """Convolutions that judge overlapping patches (Isola et al. 2017, arXiv 1611.07004): one logit per place.

    `layers` convolutions of stride 2 (70-pixel patches with 3), whose channels double up to 8 times `channels`. `norm`
    is group normalisation, batch normalisation, spectral normalisation of all weights, or nothing.
    """

    def __init__(self, in_channels: int, *, channels: int = 64, layers: int = 3, norm: PatchNorm = "group") -> None:
        super().__init__()
        widths = [channels * min(2**layer, 8) for layer in range(layers + 1)]
        body: list[nn.Module] = [_conv(in_channels, widths[0], 2, norm, bias=True), nn.LeakyReLU(0.2)]
        for layer in range(1, layers + 1):
            stride = 2 if layer < layers else 1
            body.append(_conv(widths[layer - 1], widths[layer], stride, norm, bias=norm in ("spectral", "none")))
            body += [*_patch_norm(norm, widths[layer]), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*body, _conv(widths[-1], 1, 1, norm, bias=True))
        self.smallest = 2 ** (layers + 2)  # the last two convolutions each take a pixel off

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch places"]:
        """Logits of "real" for the patches of images in [-1, 1]; raises `UserError` for images that are too small."""
        if min(images.shape[2:]) < self.smallest:
            raise UserError(
                f"this PatchGAN needs images of {self.smallest} pixels or more, "
                f"got {images.shape[2]}x{images.shape[3]}; lower patch_layers"
            )
        return self.body(images).flatten(1)


class FeatureDiscriminator(nn.Module):
    """Small heads on the features of a frozen vision transformer, after several of its blocks.

    The projected GAN of Sauer et al. (2023, arXiv 2301.09515, Section 3.1): each head looks at the tokens of one block
    with 1-d convolutions of spectrally normalised weights, and gives a logit for every token. `backbone` is any
    timm vision transformer with dynamic image size; `size` is the side in pixels to which images are brought for it.
    """

    def __init__(self, backbone: nn.Module, *, blocks: Sequence[int] = (2, 5, 8, 11), size: int = 224) -> None:
        super().__init__()
        vit: Any = backbone
        if not blocks or min(blocks) < 0 or max(blocks) >= len(vit.blocks):
            raise UserError(
                f"blocks must lie in [0, {len(vit.blocks)}) and be one or more, got {tuple(blocks)}; name some"
            )
        patch = vit.patch_embed.patch_size[0]
        if size < patch or size % patch:
            raise UserError(
                f"the side that the backbone sees must be a multiple of its patch {patch}, got {size}; round it"
            )
        self.backbone = backbone.requires_grad_(False)
        self.blocks, self.size = list(blocks), size
        self.heads = nn.ModuleList(TokenHead(vit.embed_dim) for _ in blocks)
        self.view = ForBackbone()

    def train(self, mode: bool = True) -> "FeatureDiscriminator":
        """Train the heads; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch places"]:
        """Logits of "real" for every token of every chosen block, of images in [-1, 1] with 1 or 3 channels."""
        vit: Any = self.backbone
        seen = self.view(images, (self.size, self.size))
        features = vit.forward_intermediates(
            seen, indices=self.blocks, norm=False, output_fmt="NLC", intermediates_only=True
        )
        return torch.cat([head(tokens.mT) for head, tokens in zip(self.heads, features, strict=True)], dim=1)


class TokenHead(nn.Module):
    """A logit for every token: two convolutions along the tokens, the second added to its input, and a last one."""

    def __init__(self, width: int, *, kernel: int = 9, groups: int = 8) -> None:
        super().__init__()
        self.first = _token_block(width, 1, groups)
        self.second = _token_block(width, kernel, groups)
        self.last = spectral_norm(nn.Conv1d(width, 1, 1))

    def forward(self, tokens: Float[Tensor, "batch width length"]) -> Float[Tensor, "batch length"]:
        """Logits of the tokens."""
        hidden = self.first(tokens)
        hidden = (hidden + self.second(hidden)) / 2**0.5  # keeps the variance of a sum of two
        return self.last(hidden).squeeze(1)


def _conv(channels_in: int, channels_out: int, stride: int, norm: PatchNorm, *, bias: bool) -> nn.Module:
    conv = nn.Conv2d(channels_in, channels_out, 4, stride=stride, padding=1, bias=bias)
    return spectral_norm(conv) if norm == "spectral" else conv


def _patch_norm(norm: PatchNorm, channels: int) -> list[nn.Module]:
    if norm == "group":
        return [nn.GroupNorm(min(32, channels // 4) or 1, channels)]
    return [nn.BatchNorm2d(channels)] if norm == "batch" else []


def _token_block(width: int, kernel: int, groups: int) -> nn.Sequential:
    conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, padding_mode="circular")
    return nn.Sequential(spectral_norm(conv), nn.GroupNorm(groups, width), nn.LeakyReLU(0.2))
