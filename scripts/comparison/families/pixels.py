"""Autoregression over the pixels themselves, in raster order: Gated PixelCNN (arXiv 1606.05328) with class conditions.

A pixel is a discretised mixture of logistics whose channels follow each other (PixelCNN++, arXiv 1701.05517, Section
2): the probabilities of all grey levels sum to one, so that the likelihood is exact whatever their number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from comparison.families.family import Family, trained
from comparison.families.logistic import LEAST_LOG_SCALE, drawn_levels, log_mass
from comparison.families.model import FamilyNetwork, ImageConfig, Sampling, uniform_draws
from var.conditions import ClassEmbedding, Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelConfig(ImageConfig):
    """A pixel sees `layers` + 1 rows above its own."""

    hidden: int = 40
    layers: int = 6
    mixtures: int = 8


class Layer(nn.Module):
    """A gated layer of two streams: the rows above a pixel, and those to its left, which are told of the rows."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rows, self.row = nn.Conv2d(hidden, 2 * hidden, (2, 3)), nn.Conv2d(hidden, 2 * hidden, (1, 2))
        self.told = nn.Conv2d(2 * hidden, 2 * hidden, 1)
        self.rows_out, self.row_out = nn.Conv2d(hidden, hidden, 1), nn.Conv2d(hidden, hidden, 1)
        self.label = nn.Linear(hidden, 4 * hidden)

    def above(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The rows after the layer, and what the other stream is told."""
        seen = self.rows(F.pad(x, (1, 1, 1, 0)))
        return x + self.rows_out(_gated(seen, self.label(label).chunk(2, 1)[0])), self.told(seen)

    def beside(self, x: Tensor, told: Tensor, label: Tensor) -> Tensor:
        """The pixels to the left after the layer."""
        seen = self.row(F.pad(x, (1, 0, 0, 0))) + told
        return x + self.row_out(_gated(seen, self.label(label).chunk(2, 1)[1]))


def _gated(both: Tensor, label: Tensor) -> Tensor:
    values, gates = (both + label[:, :, None, None]).chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()


class PixelCNN(FamilyNetwork):
    """The distribution of every pixel, given those before it and the class."""

    config_class = PixelConfig
    config: PixelConfig

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config
        channels, hidden = config.channels, config.hidden
        self.label = ClassEmbedding(config.num_classes, hidden)
        # A channel of ones tells the border, beyond which there are zeros.
        self.first_rows = nn.Conv2d(channels + 1, hidden, (1, 3), padding=(0, 1))
        self.first_row = nn.Conv2d(channels + 1, hidden, 1)
        self.layers = nn.ModuleList(Layer(hidden) for _ in range(config.layers))
        self.head = nn.Conv2d(hidden, config.mixtures * (1 + channels * (2 + channels)), 1)

    def above(self, images: Float[Tensor, "batch c h w"], label: Tensor) -> list[Float[Tensor, "batch _told h w"]]:
        """What every layer is told of the rows above each pixel."""
        known = F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)
        x = self.first_rows(F.pad(known, (0, 0, 1, 0))[:, :, :-1])
        told = [x]
        for layer in self.layers:
            x, seen = layer.above(x, label)  # pyright: ignore[reportCallIssue]
            told.append(seen)
        return told

    def beside(self, images: Float[Tensor, "batch c h w"], told: Sequence[Tensor], label: Tensor) -> tuple[Tensor, ...]:
        """The mixture of every pixel: logits (batch, m, h, w), means and log scales (batch, m, c, h, w), and slopes.

        These, (batch, m, c, c, h, w), are of the mean of a channel over each channel before it.
        """
        config, known = self.config, F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)
        x = self.first_row(F.pad(known, (1, 0, 0, 0))[:, :, :, :-1]) + told[0]
        for layer, seen in zip(self.layers, told[1:], strict=True):
            x = layer.beside(x, seen, label)  # pyright: ignore[reportCallIssue]
        logits, rest = self.head(F.elu(x)).tensor_split([config.mixtures], dim=1)
        rest = rest.unflatten(1, (config.mixtures, 2 + config.channels, config.channels))
        return logits, rest[:, :, 0], rest[:, :, 1].clamp(min=LEAST_LOG_SCALE), rest[:, :, 2:]

    def forward(self, images: Tensor, shown: Condition, generator: Generator) -> Float[Tensor, " batch"]:
        """Nats per value of images of the config's grey levels."""
        label = self.label(shown)
        logits, means, log_scales, slopes = self.beside(images, self.above(images, label), label)
        before = torch.ones(2 * [images.shape[1]], device=images.device, dtype=images.dtype).tril(-1)
        means = means + torch.einsum("bmijhw,ij,bjhw->bmihw", slopes, before, images)
        levels = log_mass(images[:, None], means, log_scales, self.config.levels)
        return -(logits.log_softmax(1) + levels.sum(2)).logsumexp(1).flatten(1).sum(1) / images[0].numel()

    def bits_per_dimension(self, images: Tensor, labels: Tensor, generator: Generator) -> Float[Tensor, " batch"]:
        """Exact."""
        return self(images, Condition.of(labels), generator) / math.log(2)

    def sample(
        self, labels: Int64[Tensor, " batch"], generators: Sequence[Generator], sampling: Sampling
    ) -> Float[Tensor, "batch c h w"]:
        """One pixel after the other; the rows above are looked at once for a row, and no more of them than are seen."""
        channels, height, width = self.config.shape
        drawn = uniform_draws((height, width, 1 + channels), generators, labels.device)
        images, label = torch.zeros(len(labels), channels, height, width, device=labels.device), self.label(labels)
        for row in range(height):
            above = self.above(images[:, :, max(row - self.config.layers - 1, 0) : row + 1], label)
            for column in range(width):
                told = [part[:, :, -1:, : column + 1] for part in above]
                mixture = self.beside(images[:, :, row : row + 1, : column + 1], told, label)
                pixel = [part[..., 0, column] for part in mixture]
                images[:, :, row, column] = self._pixel(pixel, drawn[:, row, column], sampling.temperature)
        return images

    def _pixel(self, mixture: list[Tensor], drawn: Tensor, temperature: float) -> Float[Tensor, "batch c"]:
        """A component, then one channel after the other, by the inverse of their distributions."""
        shares = (mixture[0] / max(temperature, 1e-3)).softmax(1).cumsum(1)
        chosen = (shares < drawn[:, :1]).sum(1).clamp(max=shares.shape[1] - 1)
        means, log_scales, slopes = (part[torch.arange(len(part)), chosen] for part in mixture[1:])
        scales, pixel = temperature * log_scales.exp(), torch.zeros_like(means)
        for channel in range(self.config.channels):
            mean = means[:, channel] + (slopes[:, channel, :channel] * pixel[:, :channel]).sum(1)
            pixel[:, channel] = drawn_levels(mean, scales[:, channel], drawn[:, 1 + channel], self.config.levels)
        return pixel


class PixelFamily(Family):
    """PixelCNN-like autoregression."""

    key, title, word, color = "pixels", "Pixel AR", "pixel AR", "teal"
    network_class = PixelCNN
    density = "exact"
    how = "A masked convolutional network draws one pixel after the other, in raster order."
    cannot = "draws no two pixels at once, so that its time grows with their number, and is not guided"
    training = trained(batch_size=32)

    def passes(self, config: ImageConfig) -> int:
        """One for each pixel."""
        return config.height * config.width
