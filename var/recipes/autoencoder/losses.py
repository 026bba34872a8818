"""What an autoencoder is trained on, and with how much weight."""

from dataclasses import dataclass

from var import checks
from var.recipes.vqvae.losses import ReconstructionLosses


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderLosses(ReconstructionLosses):
    """The terms of the evidence lower bound: what judges reconstructions, and the divergence of the latents.

    With the squared error alone, `kl` is twice the variance of the decoder's Gaussian (Kingma & Welling 2014, Eq. 10).
    """

    kl: float = 1e-4  # of the divergence of the latents from a normal distribution, in nats per value of the image

    def __post_init__(self) -> None:
        ReconstructionLosses.__post_init__(self)
        checks.not_negative(self, "kl")
        checks.at_most(10**9, self, "kl")
