"""What a training step of the tokenizer costs, with the networks of its losses."""

import torch
from torch import Tensor

from var.evaluation.metrics.lpips import LPIPS
from var.recipes.vqvae.alignment import FeatureAlignment
from var.recipes.vqvae.dino import untrained_dino
from var.recipes.vqvae.discriminator import PatchGAN
from var.recipes.vqvae.losses import ReconstructionLosses
from var.recipes.vqvae.settings import VQVAERun
from var.runs.cost import Cost, cost_of
from var.runs.plan import Network
from var.vqvae import VQVAE, VQVAEConfig


def vqvae_cost(vqvae: VQVAE, settings: VQVAERun) -> Cost:
    """A training pass of one image; `vqvae` is on the meta device."""
    config = vqvae.config
    half = settings.training.mixed_precision == "bf16"
    dtype = torch.bfloat16 if half else torch.float32
    vqvae.train().to(dtype)

    def loss() -> Tensor:
        image = torch.zeros(1, config.in_channels, *config.image_size, device="meta", dtype=dtype)
        # Past the quantiser, whose look-up waits for values, which the meta device has not.
        latent = vqvae.quant_conv(vqvae.encoder(image))
        return (vqvae.decoder(vqvae.post_quant_conv(latent)) - image).square().mean()

    return cost_of(vqvae, loss) + quantizer_cost(config)


def quantizer_cost(config: VQVAEConfig) -> Cost:
    """Of the quantiser: distances of every vector to every code, and phi at every scale, forward and backward."""
    height, width = config.schedule.shapes[-1]
    distances = 2 * config.schedule.length * config.vocabulary * config.width
    phi = 2 * 9 * config.width**2 * height * width * len(config.schedule)
    # Of phi's three products in training, all; the look-up has no backward pass.
    return Cost(flops=distances + 3 * phi, kept=4 * 4 * config.width * height * width * len(config.schedule))


def loss_networks(settings: VQVAERun) -> tuple[list[Network], Cost]:
    """The networks that judge a tokenizer's reconstructions, see `judging_networks`, and the one of its latents."""
    config = settings.vqvae
    shape = (config.in_channels, *config.image_size)
    networks, cost = judging_networks(shape, settings.losses)
    if settings.losses.alignment:
        with torch.device("meta"):
            alignment = FeatureAlignment(untrained_dino(), channels=shape[0], margin=settings.losses.alignment_margin)
            latents = torch.zeros(1, config.width, *config.schedule.shapes[-1])
            seen = cost_of(alignment, lambda: alignment(latents, torch.zeros(1, *shape)), backward=False)
        networks, cost = [*networks, Network.of("DINO", alignment.backbone, trained=False)], cost + seen
    return networks, cost


def judging_networks(shape: tuple[int, int, int], losses: ReconstructionLosses) -> tuple[list[Network], Cost]:
    """The networks that judge reconstructions of images of `shape`, and what they cost per image.

    A DINO discriminator is named without its numbers: its backbone is made with its weights only.
    """
    networks: list[Network] = []
    cost = Cost(flops=0, kept=0)
    with torch.device("meta"):
        image, reconstruction = torch.zeros(1, *shape), torch.zeros(1, *shape, requires_grad=True)
        if losses.perceptual:
            lpips = LPIPS()
            networks.append(Network.of("LPIPS", lpips, trained=False))
            cost += cost_of(lpips, lambda: lpips(image, reconstruction).sum())
        if losses.adversarial and losses.discriminator == "patchgan":
            discriminator = PatchGAN(
                shape[0], channels=losses.patch_channels, layers=losses.patch_layers, norm=losses.patch_norm
            )
            networks.append(Network.of("discriminator", discriminator))
            learning = cost_of(discriminator, lambda: discriminator(image).mean())
            judging = cost_of(discriminator.requires_grad_(False), lambda: discriminator(reconstruction).mean())
            # It learns from an image and its reconstruction; their activations are not kept at the same time as the
            # autoencoder's.
            cost += Cost(flops=judging.flops + 2 * learning.flops, kept=judging.kept)
        elif losses.adversarial:
            networks.append(Network(name="DINO discriminator (cost not counted)", parameters=0))
    return networks, cost
