"""The autoencoder with a latent space that is regularised by a KL divergence."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from var.autoencoder.codec import LatentCodec
from var.autoencoder.config import AutoencoderConfig
from var.autoencoder.initialization import initialize
from var.autoencoder.networks import Decoder, encoder_of, latent_convolution

LIMITS = (-30.0, 20.0)
"""Of the logarithms of variances, so that none overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderOutput:
    """Result of a training pass."""

    reconstruction: Float[Tensor, "batch c h w"]  # not clamped
    kl: Float[Tensor, " batch"]  # nats per image


def gaussian_kl(mean: Float[Tensor, "batch *rest"], log_variance: Float[Tensor, "batch *rest"]) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, 1) in nats, summed over each sample (Kingma & Welling, App. B)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)


class Autoencoder(LatentCodec):
    """Convolutions from an image to a Gaussian of latents and back (Kingma & Welling 2014; Rombach et al. 2022, 3.1).

    Without `config.variational` the latent is a point.
    """

    config_class = AutoencoderConfig

    @torch.inference_mode(False)  # its weights may enter autograd, wherever it is built
    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config.width)
        self.config = config
        self.encoder = encoder_of(config)
        self.quant_conv = latent_convolution(config, 1 + config.variational)
        self.post_quant_conv = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.decoder = Decoder(config)
        initialize(self, (), zero_init=config.zero_init)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.config.in_channels, *self.config.size

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the latents."""
        height, width = self.config.size
        return self.config.width, height // self.config.downsampling, width // self.config.downsampling

    def moments(
        self, images: Float[Tensor, "batch c h w"]
    ) -> tuple[Float[Tensor, "batch width _h _w"], Float[Tensor, "batch width _h _w"] | None]:
        """Mean and logarithm of the variance of the latents; None for the latter where they are points."""
        latents = self.quant_conv(self.encoder(images))
        if not self.config.variational:
            return latents, None
        mean, log_variance = latents.float().chunk(2, dim=1)
        return mean, log_variance.clamp(*LIMITS)

    def compress(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width _h _w"]:
        """The means."""
        return self.moments(images)[0].to(images.dtype)

    def expand(self, latents: Float[Tensor, "batch width _h _w"]) -> Float[Tensor, "batch c h w"]:
        """Images, not clamped."""
        return self.decoder(self.post_quant_conv(latents))

    def forward(
        self, images: Float[Tensor, "batch c h w"], generator: torch.Generator | None = None
    ) -> AutoencoderOutput:
        """A training pass, through latents mean + deviation eps with eps from `generator` (the reparametrisation)."""
        latents, log_variance = self.moments(images)
        kl = latents.new_zeros(len(images))
        if log_variance is not None:
            kl = gaussian_kl(latents, log_variance)
            noise = torch.randn(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)
            latents = latents + (0.5 * log_variance).exp() * noise
        return AutoencoderOutput(reconstruction=self.expand(latents), kl=kl)
