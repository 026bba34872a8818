"""What an autoencoder is trained on, and with how much weight."""

from dataclasses import dataclass
from typing import Literal

from var import checks
from var.configs import added
from var.errors import UserError
from var.recipes.vqvae.diffaugment import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionLosses:
    """Weights of what judges reconstructions (0 leaves one out), and how the discriminator is made and trained."""

    l1: float = 0.0  # of the absolute error
    l2: float = 1.0  # of the squared error
    perceptual: float = 0.0  # of LPIPS
    lpips_vgg16: str | None = None  # file of torchvision's VGG16; None looks in torch's cache, then downloads
    lpips_heads: str | None = None  # file of LPIPS' linear heads, likewise

    adversarial: float = 0.0  # of the discriminator's judgement
    gan_loss: Literal["hinge", "non-saturating"] = "hinge"
    adaptive: bool = True  # scale the judgement to the size of the other losses' gradient at the last layer
    adaptive_limit: float = 1.0  # largest factor of that scale
    adversarial_start: int = 0  # step from which the discriminator trains
    adversarial_lead: int = 0  # steps for which it trains before it is listened to
    adversarial_warmup: int = 0  # steps in which the weight of its judgement then rises from 0
    discriminator: Literal["patchgan", "dino"] = "patchgan"
    patch_channels: int = 64  # PatchGAN: of its first convolution
    patch_layers: int = 3  # PatchGAN: convolutions of stride 2
    patch_norm: Literal["group", "batch", "spectral", "none"] = "group"  # PatchGAN
    dino_blocks: tuple[int, ...] = (2, 5, 8, 11)  # DINO: those whose features are judged
    dino_size: int = 224  # DINO: side in pixels to which images are brought
    dino_weights: str | None = None  # file of timm's ViT-S/16 of DINO; None gets it through timm
    augmentations: tuple[Policy, ...] = ("colour", "translation", "cutout")  # of what the discriminator sees
    r1: float = 0.0  # weight of the penalty on its gradient at real images
    lecam: float = 0.0  # weight of the pull between its judgements of real images and reconstructions
    lecam_decay: float = 0.99  # of the running means of these judgements
    discriminator_learning_rate: float = 1e-4
    discriminator_betas: tuple[float, float] = (0.5, 0.9)
    discriminator_weight_decay: float = 0.0
    discriminator_clip_norm: float = 1.0

    def __post_init__(self) -> None:
        checks.fields(self)
        weights = ("l1", "l2", "perceptual", "adversarial", "r1", "lecam")
        steps = ("adversarial_start", "adversarial_lead", "adversarial_warmup")
        checks.not_negative(self, *weights, *steps, "discriminator_weight_decay")
        positive = ("adaptive_limit", "patch_channels", "patch_layers", "dino_size")
        checks.positive(self, *positive, "discriminator_learning_rate", "discriminator_clip_norm")
        checks.at_most(10**9, self, *weights, *steps, "adaptive_limit")
        checks.at_most(10**3, self, "discriminator_learning_rate", "discriminator_weight_decay")
        checks.at_most(2**13, self, "patch_channels", "dino_size", "dino_blocks")
        checks.at_most(10, self, "patch_layers")  # each halves the picture
        if not all(0 <= beta < 1 for beta in self.discriminator_betas):
            raise UserError(f"discriminator_betas must lie in [0, 1), got {self.discriminator_betas}; correct them")
        if not self.dino_blocks or min(self.dino_blocks) < 0:
            raise UserError(f"dino_blocks must be the numbers of blocks, from 0, got {self.dino_blocks}; correct them")
        if not 0 <= self.lecam_decay < 1:
            raise UserError(f"lecam_decay must lie in [0, 1), got {self.lecam_decay}; lower it")
        if not (self.l1 or self.l2 or self.perceptual):
            raise UserError("one of the weights l1, l2 and perceptual must be above 0, got none; raise one")

    def adversarial_weight(self, step: int) -> float:
        """Weight of the discriminator's judgement at `step` (from 0): 0 before its start and lead, then rising."""
        heard = step + 1 - self.adversarial_start - self.adversarial_lead
        if heard <= 0:
            return 0.0
        return self.adversarial * min(1.0, heard / max(self.adversarial_warmup, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class VQVAELosses(ReconstructionLosses):
    """The tokenizer's losses besides that of its quantisation."""

    quantize_from: int = 0  # step from which latents are quantised; before it the autoencoder learns alone
    entropy: float = 0.0  # of the entropy of each choice of a code less the entropy of all choices
    entropy_temperature: float = 1.0  # softness of the choices; see `Codebook.entropies`
    entropy_diversity: float = 1.0  # weight of the entropy of all choices, against that of each
    alignment: float = added(0.0)  # of likenesses between latents that differ from those between DINO's features
    alignment_margin: float = added(0.25)  # up to which they may differ for nothing; see `FeatureAlignment`

    def __post_init__(self) -> None:
        ReconstructionLosses.__post_init__(self)
        weights = ("quantize_from", "entropy", "entropy_diversity", "alignment", "alignment_margin")
        checks.not_negative(self, *weights)
        checks.positive(self, "entropy_temperature")
        checks.at_most(10**9, self, *weights, "entropy_temperature")
        checks.at_most(2, self, "alignment_margin")  # cosines differ by no more
