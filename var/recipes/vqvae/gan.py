"""An autoencoder's opponent in training: a discriminator that sees augmented images and what it makes of them."""

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from var.randomness import keyed_global_stream
from var.recipes.vqvae.diffaugment import diff_augment
from var.recipes.vqvae.dino import dino_backbone
from var.recipes.vqvae.discriminator import FeatureDiscriminator, PatchGAN
from var.recipes.vqvae.gan_losses import adaptive_weight, discriminator_loss, generator_loss, lecam_penalty, r1_penalty
from var.recipes.vqvae.losses import ReconstructionLosses
from var.training.task import Numbers
from var.vqvae.all_gather import gathered


class Adversary:
    """Judges reconstructions for the autoencoder, and learns to tell them from images; see `ReconstructionLosses`."""

    def __init__(self, losses: ReconstructionLosses, discriminator: nn.Module) -> None:
        self.losses = losses
        self.discriminator = discriminator
        self.means = torch.zeros(2)  # of its logits for real images and for reconstructions, over recent steps

    def judgement(
        self,
        reconstruction: Float[Tensor, "batch c h w"],
        reconstruction_loss: Float[Tensor, ""],
        last_layer: Tensor,
        weight: float,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Numbers]:
        """The weighted loss of reconstructions (in about [-1, 1]) that do not look real, and numbers to log.

        `last_layer` is the weight of the decoder's last layer, at which gradients are compared.
        """
        (augmented,) = diff_augment([reconstruction.float()], self.losses.augmentations, generator)
        loss = generator_loss(self.discriminator(augmented).float(), self.losses.gan_loss)
        scale: float | Tensor = 1.0
        if self.losses.adaptive:
            scale = adaptive_weight(reconstruction_loss, loss, last_layer, self.losses.adaptive_limit)
        return scale * weight * loss, {"adversarial": loss.detach(), "adversarial_weight": scale * weight}

    def loss(
        self,
        discriminator: nn.Module,
        images: Float[Tensor, "batch c h w"],
        reconstruction: Float[Tensor, "batch c h w"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Numbers]:
        """The loss of `discriminator` (its own, maybe wrapped) on images and their reconstructions; numbers to log."""
        losses = self.losses
        pair = diff_augment([images, reconstruction.detach().float()], losses.augmentations, generator)
        real_images = pair[0].requires_grad_(losses.r1 > 0)
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH) if losses.r1 else nullcontext():
            # One pass, as wrappers for several processes need; both halves meet the same batch normalisation too.
            real, fake = discriminator(torch.cat((real_images, pair[1]))).float().chunk(2)
            loss = discriminator_loss(real, fake, losses.gan_loss)
            numbers: Numbers = {"judged_real": real.mean().detach(), "judged_fake": fake.mean().detach()}
            if losses.r1:
                penalty = r1_penalty(real, real_images)
                loss = loss + losses.r1 / 2 * penalty
                numbers["r1"] = penalty.detach()
        if losses.lecam:
            penalty = self._lecam(real, fake)
            loss = loss + losses.lecam * penalty
            numbers["lecam"] = penalty.detach()
        return loss, numbers

    def _lecam(self, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty against the running means, which then take this step in, of all processes."""
        met = gathered(torch.stack((real.mean(), fake.mean())).detach()[None]).mean(0)
        # The first step is its own past.
        self.means = self.means.to(met.device)
        started = self.means.any()
        penalty = lecam_penalty(real, fake, *torch.where(started, self.means, met))
        self.means = torch.where(started, self.means.lerp(met, 1 - self.losses.lecam_decay), met)
        return penalty


def build_adversary(losses: ReconstructionLosses, in_channels: int, seed: int) -> Adversary:
    """The adversary that `losses` asks for; its weights depend on `seed` only. Raises `UserError` for missing files."""
    with keyed_global_stream("discriminator", seed):
        if losses.discriminator == "patchgan":
            network: nn.Module = PatchGAN(
                in_channels, channels=losses.patch_channels, layers=losses.patch_layers, norm=losses.patch_norm
            )
        else:
            network = FeatureDiscriminator(
                dino_backbone(losses.dino_weights), blocks=losses.dino_blocks, size=losses.dino_size
            )
    return Adversary(losses, network)
