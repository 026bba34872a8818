"""Training of the transformer on the token maps of a trained tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class Part(NamedTuple):
    """Some tokens of each image, in the order of the sequence, and for how many tokens each of them stands."""

    positions: Int64[Tensor, "batch some"]
    weights: Float[Tensor, "batch some"]


def logged_nats(row: Mapping[str, float], lengths: Sequence[int]) -> float:
    """Nats per token of a row of the log, from its losses of scales: `loss` itself may be weighted or smoothed."""
    return sum(row[f"loss_{scale}"] * length for scale, length in enumerate(lengths)) / sum(lengths)


@dataclass(frozen=True, slots=True)
class TransformerTask:
    """Predict the token maps of an image from the coarser ones and its label."""

    model: VAR
    vqvae: Tokenizer
    label_drop: float = 0.1  # probability of training an image without its label
    cache: TokenCache | None = None  # of the data that is trained on; None encodes every batch
    temperature: float = 0.0  # of that, see `Tokenizer.encode`
    map_weights: tuple[float, ...] = ()  # of the losses of the tokens of each map; empty: all alike
    label_smoothing: float = 0.0  # share of what is predicted that all codes have alike (arXiv 1512.00567, Section 7)

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
        part: Part | None = None,
    ) -> tuple[Tensor, Numbers]:
        """The transformer's part of the step: (weighted) mean over all tokens, loss and accuracy of every scale.

        Losses of scales are those of the tokens themselves, whatever is smoothed. Of a `part` of the tokens, whose
        finest map alone may be incomplete, they are estimates.
        """
        logits = model(condition, inputs, tokens, None if part is None else part.positions)
        wanted = tokens if part is None else tokens.gather(1, part.positions)
        # Of rows: with the vocabulary in the middle, as (batch, vocabulary, length), every operator copies the logits.
        rows, smoothing = (logits.flatten(0, 1), wanted.flatten()), self.label_smoothing
        losses = F.cross_entropy(*rows, reduction="none", label_smoothing=smoothing).view_as(wanted)
        told = losses.detach()
        if smoothing:
            told = F.cross_entropy(rows[0].detach(), rows[1], reduction="none").view_as(wanted)
        right = (logits.detach().argmax(dim=-1) == wanted).float()
        if part is not None:
            losses, told, right = (each * part.weights for each in (losses, told, right))
        numbers: Numbers = {}
        lengths = self.model.scales.lengths
        for scale, (where, length) in enumerate(zip(self.model.scales.slices(), lengths, strict=True)):
            count = len(tokens) * length
            numbers[f"loss_{scale}"] = told[:, where].sum() / count
            numbers[f"accuracy_{scale}"] = right[:, where].sum() / count
        numbers["accuracy"] = right.sum() / tokens.numel()
        if self.map_weights:
            counts = torch.tensor(lengths, device=losses.device)
            weights = losses.new_tensor(self.map_weights).repeat_interleave(counts)
            losses = losses * (weights / weights.mean())[: losses.shape[1]]
        return losses.sum() / tokens.numel(), numbers

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
