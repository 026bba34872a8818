"""Training of the transformer on the token maps of a trained tokenizer."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from var.data.batches import Batch
from var.recipes.tokens import TokenCache
from var.training.label_drop import drop_labels
from var.transformer import VAR
from var.vqvae import VQVAE


@dataclass(frozen=True, slots=True)
class TransformerTask:
    """Predict the token maps of an image from the coarser ones and its label."""

    model: VAR
    vqvae: VQVAE
    label_drop: float = 0.1  # probability of training an image without its label
    cache: TokenCache | None = None  # of the data that is trained on; None encodes every batch

    def __post_init__(self) -> None:
        self.vqvae.eval().requires_grad_(False)

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Cross-entropy in nats a token, over all scales."""
        labels = drop_labels(batch.labels, self.label_drop, self.model.config.num_classes, generator)
        scales = self.model.scales
        with torch.no_grad():
            self.vqvae.to(batch.images.device)
            if self.cache is None:
                token_maps = self.vqvae.encode(batch.images)
            else:
                token_maps = scales.split(self.cache.draw(batch.indices, generator))
            inputs = self.vqvae.teacher_inputs(token_maps)
        tokens = scales.flatten(token_maps)
        logits = model(labels, inputs)
        losses = F.cross_entropy(logits.mT, tokens, reduction="none")
        by_scale = [losses[:, where].mean().detach() for where in scales.slices()]
        numbers: dict[str, float | Tensor] = {f"loss_{scale}": value for scale, value in enumerate(by_scale)}
        numbers["accuracy"] = (logits.detach().argmax(dim=-1) == tokens).float().mean()
        return losses.mean(), numbers
