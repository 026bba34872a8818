"""Training of the transformer on the token maps of a trained tokenizer."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.conditions import Condition
from var.data.batches import Batch
from var.recipes.transformer.token_cache import TokenCache
from var.tokenizer import Tokenizer
from var.training.task import Numbers
from var.transformer import VAR
from var.transformer.head import CodeHead
from var.transformer.told import ToldCodes, ToldNeighbours


@dataclass(frozen=True, slots=True)
class TransformerTask:
    """Predict the token maps of an image from the coarser ones and its label."""

    model: VAR
    vqvae: Tokenizer
    label_drop: float = 0.1  # probability of training an image without its label
    cache: TokenCache | None = None  # of the data that is trained on; None encodes every batch
    temperature: float = 0.0  # of that, see `Tokenizer.encode`
    map_weights: tuple[float, ...] = ()  # of the losses of the tokens of each map; empty: all alike

    def __post_init__(self) -> None:
        self.vqvae.eval().requires_grad_(False)
        for part in (self.model.told_embedding, self.model.head):
            if isinstance(part, ToldCodes | ToldNeighbours | CodeHead):
                part.codes.copy_(self.vqvae.codes(0))

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """Cross-entropy in nats per token, over all scales."""
        condition = batch.condition.dropped(self.label_drop, generator)
        return self.cross_entropy(model, condition, *self.tokens_and_inputs(batch, generator))

    def cross_entropy(
        self,
        model: nn.Module,
        condition: Condition,
        tokens: Int64[Tensor, "batch length"],
        inputs: Float[Tensor, "batch rest code_width"],
    ) -> tuple[Tensor, Numbers]:
        """The transformer's part of the step: (weighted) mean over all tokens, loss and accuracy of every scale."""
        logits = model(condition, inputs, tokens)
        # Of rows: with the vocabulary in the middle, as (batch, vocabulary, length), every operator copies the logits.
        losses = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view_as(tokens)
        right = (logits.detach().argmax(dim=-1) == tokens).float()
        numbers: Numbers = {}
        for scale, where in enumerate(self.model.scales.slices()):
            numbers[f"loss_{scale}"] = losses[:, where].mean().detach()
            numbers[f"accuracy_{scale}"] = right[:, where].mean()
        numbers["accuracy"] = right.mean()
        if self.map_weights:
            lengths = torch.tensor(self.model.scales.lengths, device=losses.device)
            weights = losses.new_tensor(self.map_weights).repeat_interleave(lengths)
            losses = losses * (weights / weights.mean())
        return losses.mean(), numbers

    @torch.no_grad()
    def tokens_and_inputs(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Int64[Tensor, "batch length"], Float[Tensor, "batch rest code_width"]]:
        """What is to be predicted, and from what: the tokenizer's part of the step."""
        scales = self.model.scales
        device = batch.images.device
        if self.vqvae.device != device:
            self.vqvae.to(device)
        # In full precision, as the images are generated later: it is a small part of the step.
        with torch.autocast(device.type, enabled=False):
            if self.cache is None:
                token_maps = self.vqvae.encode(batch.images, temperature=self.temperature, generator=generator)
                return scales.flatten(token_maps), self.vqvae.inputs(token_maps)
            tokens = self.cache.draw(batch.indices, generator)
            return tokens, self.vqvae.inputs(scales.split(tokens))
