"""Diffusion in the latent space of an autoencoder (Rombach et al. 2022, arXiv 2112.10752): what fits together."""

from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.unet import UNetConfig
from var.autoencoder import LatentCodec
from var.errors import UserError


def check_fits(codec: LatentCodec, unet: UNetConfig) -> None:
    """Raise `UserError` unless a network of this config diffuses the latents of `codec`."""
    if unet.small_size:
        raise UserError("a U-Net that enlarges images works on pixels, got a codec too; leave it out")
    wanted = unet.image_channels, *unet.size
    if codec.latent_shape != wanted:
        raise UserError(
            "a codec must have the latents (channels, height, width) that the U-Net was made for, "
            f"{wanted}, got {codec.latent_shape}; give the codec with which it is trained"
        )


def check_range(settings: SamplingSettings, codec: LatentCodec | None) -> None:
    """Raise `UserError` for settings that keep latents in the range of pixels."""
    if codec is not None and settings.clip_sample:
        raise UserError("clip_sample keeps images in [-1, 1], and latents have no such range, got true; leave it out")
