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
    odd = [name for name in ("clip_sample", "dynamic_threshold") if getattr(settings, name)]
    if codec is not None and odd:
        raise UserError(
            f"{odd[0]} keeps pixels in [-1, 1], a range latents have not, got a model of these; leave it out"
        )
