"""The conditional U-Net of the baseline (after Ho et al. 2020 and Dhariwal & Nichol 2021)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from diffusion_baseline.super_resolution import enlarged
from var import checks
from var.conditions import ClassEmbedding, Shown, Text
from var.configs import added
from var.dropout import Dropout
from var.errors import UserError
from var.hub import PretrainedModel


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Size and shape of a `UNet`; levels are counted from the finest, each half the side of the one before."""

    num_classes: int  # the label `num_classes` is the null label; 0 where there are only vectors or texts
    image_size: int | tuple[int, int] = 32  # (height, width) in pixels; an int is a square
    image_channels: int = 3
    base_channels: int = 128  # width at the finest level
    multipliers: tuple[int, ...] = (1, 2, 2, 2)  # width of each level, in base channels
    residual_blocks: int = 2  # per level on the way down; one more on the way up
    attention_levels: tuple[int, ...] = (1,)  # levels with self-attention; the last one also gets it in the middle
    head_width: int = 64  # channels of an attention head
    embedding_width: int = 512  # of the joint embedding of timestep and class
    norm_groups: int = 32  # of every GroupNorm
    dropout: float = 0.0  # before the second convolution of each residual block
    vector_width: int = added(0)  # of the vectors that images are asked to show, beside their class; 0: none
    sequence_width: int = added(0)  # of the features of texts that the levels with attention attend to; 0: not to any
    small_size: int | tuple[int, int] = added(0)  # (height, width) of the images that the network enlarges; 0: it draws
    small_noise: float = added(0.0)  # share of the timesteps up to whose noise small images get some in training
    interval: bool = added(False)  # told a second time, the end of a step, and smooth in both: for average velocities

    def __post_init__(self):
        checks.fields(self)
        counts = ("image_channels", "base_channels", "residual_blocks", "head_width", "norm_groups")
        checks.at_least(1, self, *counts)
        checks.at_least(0, self, "vector_width", "sequence_width")
        checks.at_least(0 if self.vector_width or self.sequence_width else 1, self, "num_classes")
        checks.at_most(2**17, self, "vector_width", "sequence_width")
        checks.at_most(2**14, self, "image_channels", "base_channels", "head_width", "norm_groups", "image_size")
        checks.at_most(2**10, self, "residual_blocks", "multipliers")
        checks.at_most(2**24, self, "num_classes", "embedding_width")
        if self.embedding_width < 2 or self.embedding_width % 2:
            raise UserError(f"embedding_width must be even and at least 2, got {self.embedding_width}; change it")
        checks.probability(self, "dropout", below_1=True)
        checks.share(self, "small_noise")
        if self.small_size and not all(0 < few <= many for few, many in zip(self.small, self.size, strict=True)):
            raise UserError(
                f"small_size must be at most image_size {self.image_size}, or 0 where nothing is enlarged, "
                f"got {self.small_size}; correct it"
            )
        if not self.multipliers or min(self.multipliers) < 1:
            raise UserError(f"multipliers must be positive, one per level, got {self.multipliers}; correct them")
        factor = 2 ** (len(self.multipliers) - 1)
        if min(self.size) < 1 or any(side % factor for side in self.size):
            raise UserError(
                f"image_size must be a multiple of {factor} for {len(self.multipliers)} levels, got {self.image_size}; "
                "change the size or give fewer multipliers"
            )
        for level, width in enumerate(self.widths):
            if width % self.norm_groups:
                raise UserError(
                    f"level {level} has {width} channels, not a multiple of norm_groups {self.norm_groups}; change one"
                )
        for level in self.attention_levels:
            if not 0 <= level < len(self.widths) or self.widths[level] % self.head_width:
                raise UserError(
                    f"attention needs a level of 0 to {len(self.widths) - 1} whose channels head_width = "
                    f"{self.head_width} divides, got level {level} of widths {self.widths}; change attention_levels"
                )

        if self.sequence_width and not self.attention_levels:
            raise UserError("texts are attended to at attention_levels, got none; name one, or sequence_width 0")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def small(self) -> tuple[int, int]:
        """(height, width) of the images that are enlarged."""
        return (self.small_size, self.small_size) if isinstance(self.small_size, int) else self.small_size

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.base_channels * multiplier for multiplier in self.multipliers)


Times = Int[Tensor, " batch"] | Float[Tensor, " batch"]
"""Timesteps; whoever differentiates by them makes them floating."""

SMOOTH = 0.016
"""What timesteps are multiplied by where their derivative is learnt: 1000 of them turn the fastest sine 2.5 times."""


def timestep_features(timesteps: Times, width: int) -> Float[Tensor, "batch width"]:
    """Sines and cosines of the timestep at `width / 2` frequencies, 1 to 1/10000 (Vaswani et al. 2017, Sec. 3.5)."""
    octaves = torch.arange(width // 2, device=timesteps.device, dtype=torch.float32) / (width // 2)
    angles = timesteps[:, None].float() * torch.exp(-math.log(10000) * octaves)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def time_embedding(width: int) -> nn.Sequential:
    """What maps features of a time to its embedding."""
    return nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Zero a layer's parameters, so that the branch it ends adds nothing at the start of training."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the second sees its normalised input scaled and shifted by the condition."""

    def __init__(self, channels_in: int, channels: int, config: UNetConfig):
        super().__init__()
        self.norm1 = nn.GroupNorm(config.norm_groups, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.modulation = nn.Linear(config.embedding_width, 2 * channels)
        self.norm2 = nn.GroupNorm(config.norm_groups, channels)
        self.dropout = Dropout(config.dropout)
        self.conv2 = zero_init(nn.Conv2d(channels, channels, 3, padding=1))
        self.shortcut = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch _ h w"], condition: Float[Tensor, "batch _"]
    ) -> Float[Tensor, "batch _ h w"]:
        """Add the modulated branch to x."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.shortcut(x) + self.conv2(self.dropout(h))


class AttentionBlock(nn.Module):
    """Self-attention over all positions of a feature map."""

    def __init__(self, channels: int, config: UNetConfig):
        super().__init__()
        self.heads = channels // config.head_width
        self.norm = nn.GroupNorm(config.norm_groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Add to each position what it attends to."""
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        h = F.scaled_dot_product_attention(*qkv.unbind(1))  # (batch, heads, positions, head width)
        return x + self.project(h.transpose(-1, -2).reshape(x.shape))


class CrossAttentionBlock(nn.Module):
    """Attention of all positions of a feature map to the features of a text."""

    def __init__(self, channels: int, config: UNetConfig):
        super().__init__()
        self.heads = channels // config.head_width
        self.norm = nn.GroupNorm(config.norm_groups, channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(config.sequence_width, 2 * channels)
        self.project = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "batch c h w"], text: Text) -> Float[Tensor, "batch c h w"]:
        """Add to each position what it takes from the text."""
        q = self.query(self.norm(x)).flatten(2).unflatten(1, (self.heads, -1)).transpose(-1, -2)
        k, v = self.key_value(text.features).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=text.mask)
        return x + self.project(h.transpose(-1, -2).reshape(x.shape))


class Stage(nn.Module):
    """One residual block and, where asked for, attention after it: to its own map, and to a text if there are any."""

    def __init__(self, channels_in: int, channels: int, config: UNetConfig, *, attention: bool):
        super().__init__()
        self.residual = ResidualBlock(channels_in, channels, config)
        self.attention = AttentionBlock(channels, config) if attention else nn.Identity()
        self.cross = CrossAttentionBlock(channels, config) if attention and config.sequence_width else None

    def forward(
        self, x: Float[Tensor, "batch _ h w"], condition: Float[Tensor, "batch _"], text: Text | None = None
    ) -> Float[Tensor, "batch _ h w"]:
        """Apply all."""
        x = self.attention(self.residual(x, condition))
        return x if self.cross is None or text is None else self.cross(x, text)


class Downsample(nn.Conv2d):
    """Halve the sides with a strided convolution."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Conv2d):
    """Double the sides: nearest neighbour, then a convolution."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, input: Float[Tensor, "batch channels _h _w"]) -> Float[Tensor, "batch channels _h2 _w2"]:
        """Return the larger map."""
        return super().forward(F.interpolate(input, scale_factor=2.0, mode="nearest"))


class UNet(PretrainedModel, nn.Module):
    """Predict eps, v, x_0 or a velocity, what it is trained for, from the noisy image x_t, timestep and condition.

    Labels are 0 to `num_classes`, where `num_classes` is the null label of classifier-free guidance.
    """

    config_class: ClassVar[type] = UNetConfig
    package = "diffusion_baseline"

    @torch.inference_mode(False)  # its weights may enter autograd, wherever it is built
    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        self.time = time_embedding(config.embedding_width)
        self.small_level = time_embedding(config.embedding_width) if config.small_size else None
        self.span = time_embedding(config.embedding_width) if config.interval else None
        self.label = ClassEmbedding(
            config.num_classes, config.embedding_width, config.vector_width, config.sequence_width
        )
        seen = config.image_channels * (2 if config.small_size else 1)
        self.stem = nn.Conv2d(seen, config.widths[0], 3, padding=1)
        self.down, self.middle, self.up = self._stages()
        self.norm = nn.GroupNorm(config.norm_groups, config.widths[0])
        self.head = zero_init(nn.Conv2d(config.widths[0], config.image_channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # the layout in which convolutions are fastest

    def _stages(self) -> tuple[nn.ModuleList, nn.ModuleList, nn.ModuleList]:
        config, widths = self.config, self.config.widths
        attention = [level in config.attention_levels for level in range(len(widths))]
        now, skips = widths[0], [widths[0]]  # channels here, and of the maps that the way up takes back
        down: list[nn.Module] = []
        for level, width in enumerate(widths):
            if level > 0:
                down.append(Downsample(now))
                skips.append(now)
            for _ in range(config.residual_blocks):
                down.append(Stage(now, width, config, attention=attention[level]))
                skips.append(now := width)
        middle = [Stage(now, now, config, attention=attention[-1]), Stage(now, now, config, attention=False)]
        up: list[nn.Module] = []
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(config.residual_blocks + 1):
                up.append(Stage(now + skips.pop(), width, config, attention=attention[level]))
                now = width
            if level > 0:
                up.append(Upsample(now))
        return nn.ModuleList(down), nn.ModuleList(middle), nn.ModuleList(up)

    def forward(
        self, x: Float[Tensor, "batch c h w"], timesteps: Times, shown: Shown, spans: Times | None = None
    ) -> Float[Tensor, "batch c h w"]:
        """Return the prediction for x_t = `x` under a condition, or labels, in its shape and dtype.

        `spans` are the timesteps from the end of the step, for a network that is told an interval; None is 0 of them.
        """
        dtype = self.stem.weight.dtype
        embedding = self.label(shown) + self._embedded(self.time, timesteps)
        seen = x
        if self.small_level is not None:
            small, levels = enlarged(shown, self.config.small, x)
            seen = torch.cat([x, small], dim=1)
            embedding = embedding + self._embedded(self.small_level, levels)
        if self.span is not None:
            embedding = embedding + self._embedded(self.span, torch.zeros_like(timesteps) if spans is None else spans)
        condition = F.silu(embedding)
        text = self.label.text(shown)
        h = self.stem(seen.to(dtype))
        skips = [h]
        for stage in self.down:
            h = stage(h) if isinstance(stage, Downsample) else stage(h, condition, text)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, condition, text)
        for stage in self.up:
            h = stage(h) if isinstance(stage, Upsample) else stage(torch.cat([h, skips.pop()], dim=1), condition, text)
        return self.head(F.silu(self.norm(h))).to(x.dtype)

    def _embedded(self, embed: nn.Sequential, times: Times) -> Float[Tensor, "batch _"]:
        times = SMOOTH * times if self.config.interval else times
        return embed(timestep_features(times, self.config.embedding_width).to(self.stem.weight.dtype))
