"""The convolutional encoder and decoder (the layout of Rombach et al. 2022, arXiv 2112.10752, and of VAR after it)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from var.autoencoder.config import Convolutions
from var.dropout import Dropout


def _norm(config: Convolutions, channels: int) -> nn.Module:
    return nn.GroupNorm(config.norm_groups, channels, eps=1e-6) if config.norm_groups else nn.Identity()


def _conv3(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


def _activated(norm: nn.Module, x: Tensor) -> Tensor:
    """SiLU after `norm`, in place where no gradient needs it kept: large maps cost more to allocate than to compute."""
    normed = norm(x)
    return F.silu(normed, inplace=normed is not x and not torch.is_grad_enabled())


def _added(branch: Tensor, x: Tensor) -> Tensor:
    """The sum, in the branch's place where nothing has to be kept for a gradient."""
    return x + branch if torch.is_grad_enabled() else branch.add_(x)


class ResidualBlock(nn.Module):
    """Twice norm, SiLU, 3x3 convolution, added to the input (through a 1x1 convolution where channels change)."""

    def __init__(self, config: Convolutions, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = _norm(config, channels_in)
        self.conv1 = _conv3(channels_in, channels_out)
        self.norm2 = _norm(config, channels_out)
        self.dropout = Dropout(config.dropout)
        self.conv2 = _conv3(channels_out, channels_out)
        self.shortcut = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Float[Tensor, "batch _in h w"]) -> Float[Tensor, "batch _out h w"]:
        """Add the branch to its input."""
        hidden = self.conv1(_activated(self.norm1, x))
        hidden = self.conv2(self.dropout(_activated(self.norm2, hidden)))
        return _added(hidden, self.shortcut(x))


class AttentionBlock(nn.Module):
    """Single-head self-attention over all positions of a feature map, added to the input."""

    def __init__(self, config: Convolutions, channels: int) -> None:
        super().__init__()
        self.norm = _norm(config, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.projection = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Add to each position what it attends to."""
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (three c) h w -> three b 1 (h w) c", three=3)
        hidden = F.scaled_dot_product_attention(q, k, v)
        return _added(self.projection(rearrange(hidden, "b 1 (h w) c -> b c h w", h=x.shape[2])), x)


class Level(nn.Module):
    """The residual blocks of one resolution, each followed by attention at the lowest one."""

    def __init__(self, config: Convolutions, channels: list[int], *, attention: bool) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        self.blocks = nn.ModuleList(ResidualBlock(config, *pair) for pair in pairs)
        self.attentions = nn.ModuleList(AttentionBlock(config, out) for _, out in pairs if attention)

    def forward(self, x: Float[Tensor, "batch _in h w"]) -> Float[Tensor, "batch _out h w"]:
        """Apply the blocks in turn."""
        for index, block in enumerate(self.blocks):
            x = block(x)
            if self.attentions:
                x = self.attentions[index](x)
        return x


def _levels(config: Convolutions, before: int, widths: list[int], blocks: int, *, lowest: int) -> nn.ModuleList:
    """Per width, a level of so many blocks, the first of which takes over the channels of the level before."""
    channels = [[before] + [width] * blocks for before, width in pairwise([before, *widths])]
    return nn.ModuleList(
        Level(config, each, attention=config.attention and level == lowest) for level, each in enumerate(channels)
    )


class Middle(nn.Sequential):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, config: Convolutions, channels: int) -> None:
        super().__init__()
        self.block1 = ResidualBlock(config, channels, channels)
        if config.attention:
            self.attention = AttentionBlock(config, channels)
        self.block2 = ResidualBlock(config, channels, channels)


class Downsample(nn.Module):
    """Halves the resolution: a 3x3 convolution of stride 2, padded at the right and the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "batch c _h _w"]) -> Float[Tensor, "batch c _h2 _w2"]:
        """The map at half the resolution."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the resolution: nearest neighbours, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv3(channels, channels)

    def forward(self, x: Float[Tensor, "batch c _h _w"]) -> Float[Tensor, "batch c _h2 _w2"]:
        """The map at twice the resolution."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Encoder(nn.Module):
    """Images to latents: a level of residual blocks for each channel multiplier, halving the resolution between."""

    def __init__(self, config: Convolutions) -> None:
        super().__init__()
        widths = config.level_channels
        self.conv_in = _conv3(config.in_channels, config.base_channels)
        self.levels = _levels(config, config.base_channels, widths, config.residual_blocks, lowest=len(widths) - 1)
        self.downsamples = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.middle = Middle(config, widths[-1])
        self.norm_out = _norm(config, widths[-1])
        self.conv_out = _conv3(widths[-1], config.width)

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """Latents (before the convolution that follows the encoder) of images in [-1, 1]."""
        x = self.conv_in(images)
        for index, level in enumerate(self.levels):
            x = level(x)
            if index < len(self.downsamples):
                x = self.downsamples[index](x)
        return self.conv_out(_activated(self.norm_out, self.middle(x)))


class PatchEncoder(nn.Sequential):
    """Images to latents patch by patch: each is told the pixels that it covers, and no others, by three layers.

    Patches that look alike, such as those of a plain ground, then have one latent, and one token. Convolutions over
    more than a patch spread what they see, so that tokens of like patches differ, and a transformer has to learn how.
    """

    def __init__(self, config: Convolutions) -> None:
        side, hidden = config.downsampling, 2 * config.level_channels[-1]
        super().__init__(
            nn.Conv2d(config.in_channels, hidden, side, stride=side),
            nn.SiLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.SiLU(),
            nn.Conv2d(hidden, config.width, 1),
        )


def encoder_of(config: Convolutions) -> Encoder | PatchEncoder:
    """The encoder that `config.encoder` names."""
    return PatchEncoder(config) if config.encoder == "patches" else Encoder(config)


def latent_convolution(config: Convolutions, parts: int = 1) -> nn.Conv2d:
    """What follows the encoder, to `parts` times the width: over 3x3 latents, or each by itself after patches."""
    side = 1 if config.encoder == "patches" else 3
    return nn.Conv2d(config.width, config.width * parts, side, padding=side // 2)


class Decoder(nn.Module):
    """Latents to images: the encoder mirrored, with one more residual block per level. Levels are lowest first."""

    def __init__(self, config: Convolutions) -> None:
        super().__init__()
        widths = config.level_channels[::-1]
        self.conv_in = _conv3(config.width, widths[0])
        self.middle = Middle(config, widths[0])
        self.levels = _levels(config, widths[0], widths, config.residual_blocks + 1, lowest=0)
        self.upsamples = nn.ModuleList(Upsample(width) for width in widths[:-1])
        self.norm_out = _norm(config, widths[-1])
        self.conv_out = _conv3(widths[-1], config.in_channels)

    def forward(self, latents: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images, not clamped, of latents after the convolution that precedes the decoder."""
        x = self.middle(self.conv_in(latents))
        for index, level in enumerate(self.levels):
            x = level(x)
            if index < len(self.upsamples):
                x = self.upsamples[index](x)
        return self.conv_out(_activated(self.norm_out, x))
