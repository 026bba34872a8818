"""What a decoder is trained on after its transformer, and with how much weight."""

from dataclasses import dataclass
from typing import Literal

from var.errors import UserError
from var.recipes.vqvae.diffaugment import Policy
from var.recipes.vqvae.losses import ReconstructionLosses


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLosses(ReconstructionLosses):
    """Reconstruction of images from their own tokens, and a discriminator's judgement of what is made of drawn ones.

    A drawn image has no original to be compared with: what it should look like is the discriminator's to say alone.
    """

    adversarial: float = 0.05
    adaptive: bool = False
    patch_channels: int = 32
    patch_layers: int = 2
    patch_norm: Literal["group", "batch", "spectral", "none"] = "none"
    augmentations: tuple[Policy, ...] = ("translation", "cutout")
    r1: float = 1.0
    discriminator_learning_rate: float = 1e-3
    discriminator_betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self) -> None:
        ReconstructionLosses.__post_init__(self)
        if not self.adversarial:
            raise UserError(
                "a decoder learns from drawn tokens by a discriminator, so adversarial must be above 0, got 0; 0.05 is "
                "usual"
            )
