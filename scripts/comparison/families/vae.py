"""A variational autoencoder (Kingma and Welling 2013, arXiv 1312.6114) with the package's encoder and decoder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from comparison.families.decoding import LABEL, LabelledDecoder, latent_shape, layout
from comparison.families.family import Family, trained
from comparison.families.logistic import LEAST_LOG_SCALE, drawn_levels, log_mass
from comparison.families.model import FamilyNetwork, ImageConfig, Sampling, normal_draws, uniform_draws
from var import checks
from var.autoencoder.model import gaussian_kl
from var.autoencoder.networks import Encoder
from var.conditions import ClassEmbedding, Condition, Shown
from var.linear import Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class VAEConfig(ImageConfig):
    """The defaults are for the digits."""

    latent: int = 16  # numbers of an image
    base_channels: int = 16  # of encoder and decoder

    def __post_init__(self) -> None:
        ImageConfig.__post_init__(self)
        checks.at_least(1, self, "latent", "base_channels")


class VAE(FamilyNetwork):
    """Latents with a standard normal prior, from which a decoder that knows the class tells every pixel's levels."""

    config_class = VAEConfig
    config: VAEConfig

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        plan = layout(config, config.base_channels)
        self.encoder = Encoder(plan)
        self.label = ClassEmbedding(config.num_classes, LABEL)
        self.posterior = Linear(math.prod(latent_shape(plan)) + LABEL, 2 * config.latent)
        self.decoder = LabelledDecoder(
            replace(plan, in_channels=2 * config.channels), config.latent, config.num_classes
        )

    def encode(self, images: Float[Tensor, "batch c h w"], shown: Shown) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x, class), each (batch, latent)."""
        seen = torch.cat((self.encoder(images).flatten(1), self.label(shown)), dim=1)
        mean, log_variance = self.posterior(F.silu(seen)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Float[Tensor, "batch latent"], shown: Shown) -> tuple[Tensor, Tensor]:
        """Means and log-scales of the pixels' logistic distributions, each (batch, c, h, w)."""
        means, log_scales = self.decoder(latents, shown).chunk(2, dim=1)
        return means, log_scales.clamp(min=LEAST_LOG_SCALE)

    def forward(self, images: Tensor, shown: Condition, generator: Generator) -> Float[Tensor, " batch"]:
        """The negative of the evidence's lower bound (Eq. 3), from one draw of the latents, in bits per value."""
        mean, log_variance = self.encode(images, shown)
        noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)
        means, log_scales = self.decode(mean + (log_variance / 2).exp() * noise, shown)
        told = log_mass(images, means, log_scales, self.config.levels).flatten(1).sum(1)
        return (gaussian_kl(mean, log_variance) - told) / (images[0].numel() * math.log(2))

    def bits_per_dimension(self, images: Tensor, labels: Tensor, generator: Generator) -> Float[Tensor, " batch"]:
        """A bound on them: the mean over draws is never less."""
        return self(images, Condition.of(labels), generator)

    def sample(
        self, labels: Int64[Tensor, " batch"], generators: Sequence[Generator], sampling: Sampling
    ) -> Float[Tensor, "batch c h w"]:
        """Latents from the prior, and pixels that they tell; the temperature is the spread of both."""
        latents = sampling.temperature * normal_draws((self.config.latent,), generators, labels.device)
        means, log_scales = self.decode(latents, labels)
        drawn = uniform_draws(self.config.shape, generators, labels.device)
        return drawn_levels(means, sampling.temperature * log_scales.exp(), drawn, self.config.levels)


class VAEFamily(Family):
    """A conditional VAE."""

    key, title, word, color = "vae", "VAE", "VAE", "pink"
    network_class = VAE
    density = "bound"
    how = "A decoder turns normal latents into distributions of the pixels, each drawn for itself."
    cannot = "cannot let pixels agree on what the latents leave open, so that images are noisy, or blurred"
    temperatures = (1.0, 0.85)
    training = trained()
