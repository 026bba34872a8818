"""Autoregression over the pixels themselves, in raster order: Gated PixelCNN (arXiv 1606.05328) with class conditions.

A pixel is a discretised mixture of logistics whose channels follow each other (PixelCNN++, arXiv 1701.05517, Section
2): the probabilities of all grey levels sum to one, so that the likelihood is exact whatever their number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from comparison.families.family import Family, trained
from comparison.families.model import FamilyNetwork, ImageConfig, Sampling, uniform_draws
from var.conditions import ClassEmbedding, Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelConfig(ImageConfig):
    """The defaults are for the digits."""

    hidden: int = 48
    layers: int = 7  # a pixel sees so many rows above it, and one more
    mixtures: int = 8


class Mixture(NamedTuple):
    """Of every pixel: components with a mean and a log scale for every channel, and what earlier channels add to it."""

    logits: Float[Tensor, "batch mixtures h w"]
    means: Float[Tensor, "batch mixtures c h w"]
    log_scales: Float[Tensor, "batch mixtures c h w"]
    slopes: Float[Tensor, "batch mixtures c c h w"]  # of the mean of a channel over each channel before it


class Layer(nn.Module):
    """The rows above (vertical) and the pixels to the left (horizontal), each gated; the first tells the second."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(hidden, 2 * hidden, (2, 3))
        self.horizontal = nn.Conv2d(hidden, 2 * hidden, (1, 2))
        self.down = nn.Conv2d(2 * hidden, 2 * hidden, 1)
        self.out_vertical, self.out_horizontal = nn.Conv2d(hidden, hidden, 1), nn.Conv2d(hidden, hidden, 1)
        self.label = nn.Linear(hidden, 4 * hidden)

    def forward(self, vertical: Tensor, horizontal: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams after the layer."""
        above, left = self.label(label)[:, :, None, None].chunk(2, dim=1)
        seen = self.vertical(F.pad(vertical, (1, 1, 1, 0)))
        beside = self.horizontal(F.pad(horizontal, (1, 0, 0, 0))) + self.down(seen)
        vertical = vertical + self.out_vertical(_gated(seen + above))
        return vertical, horizontal + self.out_horizontal(_gated(beside + left))


class PixelCNN(FamilyNetwork):
    """The distribution of every pixel, given those before it and the class."""

    config_class = PixelConfig
    config: PixelConfig

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config
        channels, hidden = config.channels, config.hidden
        self.label = ClassEmbedding(config.num_classes, hidden)
        self.above = nn.Conv2d(channels + 1, hidden, (1, 3), padding=(0, 1))
        self.left = nn.Conv2d(channels + 1, hidden, 1)
        self.layers = nn.ModuleList(Layer(hidden) for _ in range(config.layers))
        self.head = nn.Conv2d(hidden, config.mixtures * (1 + channels * (2 + channels)), 1)

    def mixture(self, images: Tensor, condition: Condition) -> Mixture:
        """Of the pixels of `images`, or of a part of them: what is outside is not seen."""
        config, label = self.config, self.label(condition)
        known = F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)  # a channel of ones tells the border, which is padded by 0
        vertical = self.above(F.pad(known, (0, 0, 1, 0))[:, :, :-1])
        horizontal = self.left(F.pad(known, (1, 0, 0, 0))[:, :, :, :-1]) + vertical
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, label)
        logits, rest = self.head(F.elu(horizontal)).split(
            [config.mixtures, self.head.out_channels - config.mixtures], 1
        )
        means, scales, slopes = rest.unflatten(1, (config.mixtures, 2 + config.channels, config.channels)).split(
            [1, 1, config.channels], 2
        )
        return Mixture(logits, means[:, :, 0], scales[:, :, 0].clamp(min=-7), slopes)

    def log_probability(self, images: Tensor, condition: Condition) -> Float[Tensor, " batch"]:
        """Of images of the config's grey levels, in nats."""
        mixture, half = self.mixture(images, condition), 1 / (self.config.levels - 1)
        before = torch.ones(2 * [images.shape[1]], device=images.device).tril(-1)
        means = mixture.means + torch.einsum("bmijhw,ij,bjhw->bmihw", mixture.slopes, before, images)
        values, inverse = images[:, None], torch.exp(-mixture.log_scales)
        above, below = (values - means + half) * inverse, (values - means - half) * inverse
        # log(s(above) - s(below)) for the logistic s, as a sum without cancellation; the outermost levels have tails.
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * half * inverse))
        levels = torch.where(values < half - 1, F.logsigmoid(above), inside)
        levels = torch.where(values > 1 - half, F.logsigmoid(-below), levels)
        pixels = (mixture.logits.log_softmax(1) + levels.sum(2)).logsumexp(1)
        return pixels.flatten(1).sum(1)

    def forward(self, images: Tensor, shown: Condition, generator: Generator) -> Float[Tensor, " batch"]:
        """Nats per value."""
        return -self.log_probability(images, shown) / images[0].numel()

    def bits_per_dimension(self, images: Tensor, labels: Tensor, generator: Generator) -> Float[Tensor, " batch"]:
        """Exact."""
        return self(images, Condition.of(labels), generator) / math.log(2)

    def sample(
        self, labels: Int64[Tensor, " batch"], generators: Sequence[Generator], sampling: Sampling
    ) -> Float[Tensor, "batch c h w"]:
        """One pixel after the other; of the image only what the pixel sees is looked at."""
        channels, height, width = self.config.shape
        drawn = uniform_draws((height, width, 1 + channels), generators, labels.device)
        images = torch.zeros(len(labels), channels, height, width, device=labels.device)
        condition, reach = Condition.of(labels), self.config.layers + 1
        for row in range(height):
            for column in range(width):
                top, start = max(row - reach, 0), max(column - reach, 0)
                seen = images[:, :, top : row + 1, start : column + reach + 1]
                mixture = Mixture(*(part[..., -1, column - start] for part in self.mixture(seen, condition)))
                images[:, :, row, column] = self._pixel(mixture, drawn[:, row, column], sampling.temperature)
        return images

    def _pixel(self, mixture: Mixture, drawn: Float[Tensor, "batch n"], temperature: float) -> Float[Tensor, "batch c"]:
        """A component, then one channel after the other, by the inverse of their distributions."""
        steps = (self.config.levels - 1) / 2
        shares = (mixture.logits / max(temperature, 1e-3)).softmax(1).cumsum(1)
        chosen = (shares < drawn[:, :1]).sum(1).clamp(max=shares.shape[1] - 1)
        means, log_scales, slopes = (part[torch.arange(len(part)), chosen] for part in mixture[1:])
        pixel = torch.zeros_like(means)
        for channel in range(self.config.channels):
            mean = means[:, channel] + (slopes[:, channel, :channel] * pixel[:, :channel]).sum(1)
            spread = torch.exp(log_scales[:, channel]) * temperature
            value = mean + spread * torch.logit(drawn[:, 1 + channel], eps=1e-6)
            pixel[:, channel] = ((value.clamp(-1, 1) + 1) * steps).round() / steps - 1
        return pixel


class PixelFamily(Family):
    """PixelCNN-like autoregression."""

    key, title, color = "pixels", "Pixel AR", "teal"
    word = "pixel AR"
    network_class = PixelCNN
    density = "exact"
    how = "A masked convolutional network draws one pixel after the other, in raster order."
    cannot = "cannot draw pixels side by side, so that time grows with their number, nor be guided here"
    training = trained()

    def evaluations(self, config: PixelConfig) -> int:
        """One for each pixel."""
        return config.height * config.width


def _gated(both: Tensor) -> Tensor:
    values, gates = both.chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()
