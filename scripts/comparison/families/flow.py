"""A normalising flow: affine couplings with an exact density (RealNVP, arXiv 1605.08803; Glow, arXiv 1807.03039)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from comparison.families.family import Family, trained
from comparison.families.model import FamilyNetwork, ImageConfig, Sampling, bits_of_density, dequantized, normal_draws
from var import checks
from var.conditions import ClassEmbedding, Condition, Shown
from var.errors import UserError

Maps = Float[Tensor, "batch c h w"]

MARGIN = 0.025  # how far values in [0, 1] are kept from both ends before their logit is taken (RealNVP, Section 4.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig(ImageConfig):
    """The defaults are for the digits."""

    scales: int = 2  # at each, 2x2 places become channels
    couplings: int = 6  # at each scale
    hidden: int = 96  # channels within a coupling

    def __post_init__(self) -> None:
        ImageConfig.__post_init__(self)
        checks.at_least(1, self, "scales", "couplings", "hidden")
        if any(side % 2**self.scales for side in self.shape[1:]):
            rule = f"this flow needs sides that are multiples of {2**self.scales}"
            raise UserError(f"{rule}, got {self.height}x{self.width}; resize the images")


class Coupling(nn.Module):
    """A step of Glow (Table 1): channels mixed by a matrix, whose scales are its own, and an affine coupling.

    Half the channels scale and shift the other half, as a network of them and of the class says.
    """

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.mixing = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.first = nn.Conv2d(channels // 2, hidden, 3, padding=1)
        self.label = ClassEmbedding(num_classes, hidden)
        self.middle = nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Maps, shown: Shown) -> tuple[Maps, Float[Tensor, " batch"]]:
        """The map, and the log of its Jacobian's determinant."""
        x = F.conv2d(x, self.mixing[:, :, None, None]) + self.bias
        kept, moved = x.chunk(2, dim=1)
        log_scale, shift = self._affine(kept, shown)
        of_mixing = torch.linalg.slogdet(self.mixing).logabsdet * x[0, 0].numel()
        return torch.cat((kept, moved * log_scale.exp() + shift), dim=1), log_scale.flatten(1).sum(1) + of_mixing

    def inverse(self, y: Maps, shown: Shown) -> Maps:
        """The map that `forward` makes `y` of."""
        kept, moved = y.chunk(2, dim=1)
        log_scale, shift = self._affine(kept, shown)
        x = torch.cat((kept, (moved - shift) * (-log_scale).exp()), dim=1)
        return F.conv2d(x - self.bias, torch.linalg.inv(self.mixing)[:, :, None, None])

    def _affine(self, kept: Tensor, shown: Shown) -> tuple[Tensor, Tensor]:
        hidden = F.silu(self.first(kept) + self.label(shown)[:, :, None, None])
        log_scale, shift = self.last(F.silu(self.middle(hidden))).chunk(2, dim=1)
        return 2 * torch.tanh(log_scale / 2), shift  # factors of at most e^2 keep the inverse tame


class Flow(FamilyNetwork):
    """An invertible network from images to as many latent numbers, for which every class has a normal distribution."""

    config_class = FlowConfig
    config: FlowConfig

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        channels = [config.channels * 4 ** (1 + scale) for scale in range(config.scales)]
        self.couplings: Any = nn.ModuleList(
            Coupling(here, config.hidden, config.num_classes) for here in channels for _ in range(config.couplings)
        )
        self.prior = ClassEmbedding(config.num_classes, 2 * math.prod(config.shape))  # means, logs of deviations
        nn.init.zeros_(self.prior.weight)

    def latents(self, x: Maps, shown: Shown) -> tuple[Float[Tensor, "batch d"], Float[Tensor, " batch"]]:
        """Latents of values on the whole line, and the log of their Jacobian's determinant."""
        total = x.new_zeros(len(x))
        for place, coupling in enumerate(self.couplings):
            if place % self.config.couplings == 0:
                x = F.pixel_unshuffle(x, 2)
            x, log_determinant = coupling(x, shown)
            total = total + log_determinant
        return x.flatten(1), total

    def inverse(self, latents: Float[Tensor, "batch d"], shown: Shown) -> Maps:
        """The values that `latents` gives them for."""
        x = latents.view(len(latents), -1, *(side // 2**self.config.scales for side in self.config.shape[1:]))
        for place, coupling in reversed(list(enumerate(self.couplings))):
            x = coupling.inverse(x, shown)
            if place % self.config.couplings == 0:
                x = F.pixel_shuffle(x, 2)
        return x

    def log_density(self, values: Maps, shown: Shown) -> Float[Tensor, " batch"]:
        """Of dequantised images, in nats."""
        levels, shrunk = self.config.levels, 1 - 2 * MARGIN
        share = MARGIN + shrunk * (values * (levels - 1) + levels) / (2 * levels)
        slopes = math.log(shrunk * (levels - 1) / (2 * levels)) - share.log() - torch.log1p(-share)
        latents, log_determinant = self.latents(share.logit(), shown)
        means, log_deviations = self.prior(shown).chunk(2, dim=1)
        normal = -0.5 * ((latents - means) * (-log_deviations).exp()).square() - log_deviations
        return (normal - 0.5 * math.log(2 * math.pi)).sum(1) + log_determinant + slopes.flatten(1).sum(1)

    def forward(self, images: Tensor, shown: Condition, generator: Generator) -> Float[Tensor, " batch"]:
        """Bits per value."""
        values = dequantized(images, self.config.levels, generator)
        return bits_of_density(self.log_density(values, shown), images, self.config.levels)

    def bits_per_dimension(self, images: Tensor, labels: Tensor, generator: Generator) -> Float[Tensor, " batch"]:
        """Exact for dequantised images."""
        return self(images, Condition.of(labels), generator)

    def sample(self, labels: Int64[Tensor, " batch"], generators: Sequence[Generator], sampling: Sampling) -> Maps:
        """Latents of the class, whose deviations the temperature scales, and back to grey levels."""
        means, log_deviations = self.prior(labels).chunk(2, dim=1)
        noise = normal_draws(means.shape[1:], generators, means.device)
        share = self.inverse(means + sampling.temperature * log_deviations.exp() * noise, labels).sigmoid()
        levels = self.config.levels
        level = ((share - MARGIN) / (1 - 2 * MARGIN) * levels).floor().clamp(0, levels - 1)
        return level * (2 / (levels - 1)) - 1


class FlowFamily(Family):
    """Glow with a class."""

    key, title, word, color = "flow", "Normalising flow", "normalising flow", "brown"
    network_class = Flow
    density = "exact"
    how = "An invertible network turns normal noise into an image."
    cannot = "cannot leave out detail: it has as many latent numbers as an image has values"
    temperatures = (1.0, 0.85)
    training = trained(learning_rate=3e-3)
