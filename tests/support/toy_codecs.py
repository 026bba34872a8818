"""Codecs whose latents are known."""

from dataclasses import dataclass

from var.autoencoder import Autoencoder, AutoencoderConfig, LatentCodec


@dataclass(frozen=True)
class IdentityConfig:
    shape: tuple[int, int, int]


class IdentityCodec(LatentCodec):
    """The latent is the image."""

    config_class = IdentityConfig

    def __init__(self, config):
        super().__init__(config.shape[0])
        self.config = config

    @property
    def image_shape(self):
        return self.config.shape

    latent_shape = image_shape

    def compress(self, images):
        return images

    def expand(self, latents):
        return latents


def tiny_autoencoder(**changes):
    """For images (1, 8, 8), of latents (2, 4, 4)."""
    size = {"base_channels": 4, "channel_multipliers": (1, 2), "residual_blocks": 1, "attention": False}
    return Autoencoder(
        AutoencoderConfig(**{"image_size": 8, "in_channels": 1, "norm_groups": 0, "width": 2, **size, **changes})
    )
