"""The package's decoder behind one vector of an image and its class, for the families that have such a vector."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from comparison.families.model import ImageConfig
from var.autoencoder import AutoencoderConfig
from var.autoencoder.networks import Decoder
from var.conditions import ClassEmbedding, Shown
from var.linear import Linear

SMALLEST = 4
"""Side in pixels of the map at which halving ends."""
WIDEST = 4
"""Times the channels of the first level."""
LABEL = 32
"""Width of the embedding of a class."""


def layout(image: ImageConfig, base_channels: int) -> AutoencoderConfig:
    """Of an encoder and a decoder for such images."""
    multipliers, factor = [1], 2
    while image.height % factor == image.width % factor == 0 and min(image.shape[1:]) // factor >= SMALLEST:
        multipliers.append(min(2 * multipliers[-1], WIDEST))
        factor *= 2
    return AutoencoderConfig(
        image_size=(image.height, image.width),
        in_channels=image.channels,
        base_channels=base_channels,
        channel_multipliers=tuple(multipliers),
        residual_blocks=1,
        attention=False,
        norm_groups=8,
        width=16,
    )


def latent_shape(config: AutoencoderConfig) -> tuple[int, int, int]:
    """(channels, height, width) of the map between encoder and decoder."""
    height, width = config.size
    return config.width, height // config.downsampling, width // config.downsampling


class LabelledDecoder(nn.Module):
    """From a vector and a class to an image."""

    def __init__(self, config: AutoencoderConfig, vector: int, num_classes: int) -> None:
        super().__init__()
        self.label = ClassEmbedding(num_classes, LABEL)
        self.shape = latent_shape(config)
        self.first = Linear(vector + LABEL, math.prod(self.shape))
        self.decoder = Decoder(config)

    def forward(self, vectors: Float[Tensor, "batch vector"], shown: Shown) -> Float[Tensor, "batch c h w"]:
        """Images, not clamped."""
        latents = self.first(torch.cat((vectors, self.label(shown)), dim=1))
        return self.decoder(latents.unflatten(1, self.shape))
