"""Training of the tokenizer: reconstruction and quantisation losses."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from var.data.batches import Batch
from var.vqvae import VQVAE, VQVAEOutput


@dataclass(frozen=True, slots=True)
class VQVAETask:
    """Reconstruct images through the multi-scale codes."""

    model: VQVAE
    l1_weight: float = 0.0  # of the absolute error, beside the squared error with weight 1

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Squared (and absolute) error of the reconstruction plus the quantisation loss."""
        output: VQVAEOutput = model(batch.images, generator)
        squared = F.mse_loss(output.reconstruction, batch.images)
        loss = squared + output.quantization_loss
        if self.l1_weight:
            loss = loss + self.l1_weight * F.l1_loss(output.reconstruction, batch.images)
        numbers: dict[str, float | Tensor] = {
            "reconstruction": squared.detach(),
            "quantization": output.quantization_loss.detach(),
        }
        for scale, (usage, perplexity) in enumerate(zip(output.usage, output.perplexity, strict=True)):
            numbers[f"usage_{scale}"] = usage
            numbers[f"perplexity_{scale}"] = perplexity
        return loss, numbers
