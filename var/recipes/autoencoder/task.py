"""Training of the autoencoder: reconstruction, and the divergence of its latents from a normal distribution."""

import torch
from torch import Tensor, nn

from var.autoencoder import Autoencoder, AutoencoderOutput
from var.data.batches import Batch
from var.recipes.autoencoder.losses import AutoencoderLosses
from var.recipes.vqvae.reconstruction import ReconstructionTask
from var.training.task import Numbers


class AutoencoderTask(ReconstructionTask):
    """Reconstruct images through draws of their latents; networks and errors as for `ReconstructionTask`."""

    model: Autoencoder
    losses: AutoencoderLosses

    def __init__(self, model: Autoencoder, losses: AutoencoderLosses | None = None, *, seed: int = 0) -> None:
        super().__init__(model, losses or AutoencoderLosses(), model.image_shape, seed=seed)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """The negative evidence lower bound per value of an image, up to constants (Kingma & Welling 2014, Eq. 3)."""
        output: AutoencoderOutput = model(batch.images, generator)
        loss, numbers = self.judged(output.reconstruction, batch, self.model.decoder.conv_out.weight, generator)
        kl = output.kl.mean()
        return loss + self.losses.kl * kl / batch.images[0].numel(), numbers | {"kl": kl.detach()}
