"""Stage 1: the multi-scale VQ autoencoder that turns an image into token maps."""

from var.vqvae.config import VQVAEConfig
from var.vqvae.model import VQVAE, VQVAEOutput

__all__ = ["VQVAE", "VQVAEConfig", "VQVAEOutput"]
