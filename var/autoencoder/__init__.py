"""Images to continuous latents and back: the networks, and what models that work in a latent space see of them."""

from var.autoencoder.codec import LatentCodec
from var.autoencoder.config import AutoencoderConfig
from var.autoencoder.model import Autoencoder, AutoencoderOutput

__all__ = ["Autoencoder", "AutoencoderConfig", "AutoencoderOutput", "LatentCodec"]
