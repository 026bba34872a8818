"""Training steps that look at a part of the finest map: most of its tokens may say little that is new.

Tokens that are left out cost nothing, and the others do not see them (MaskDiT, arXiv 2306.09305, does so with
diffusion). Every fifth step looks at all tokens, as drawing does.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from var.data.batches import Batch
from var.recipes.transformer.task import Part, TransformerTask
from var.training.task import Numbers
from var.transformer import VAR

PERIOD = 5
"""Of so many steps the last one looks at all tokens."""
COMMON = 4
"""A part in so many of the tokens looked at is kept for the commonest code, in images that have enough of it."""


@dataclass(slots=True)
class PartialTask:
    """`plain`, of whose finest map most steps look at `kept` tokens of each image."""

    plain: TransformerTask
    kept: int
    whole: bool = True  # the coming step looks at all tokens

    period = PERIOD
    """Steps after which those that cost more come again."""

    @property
    def model(self) -> VAR:
        """What is trained."""
        return self.plain.model

    def begin_step(self, step: int) -> None:
        """Hear the number of the coming step."""
        self.whole = step % PERIOD == PERIOD - 1

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """That of `plain`, or of a part of the tokens, weighted by how many each of them was drawn from."""
        if self.whole:
            return self.plain.loss(model, batch, generator)
        condition = batch.condition.dropped(self.plain.label_drop, generator)
        tokens, inputs = self.plain.tokens_and_inputs(batch, generator)
        part = part_of(tokens, tokens.shape[1] - self.model.scales.lengths[-1], self.kept, generator)
        return self.plain.cross_entropy(model, condition, tokens, inputs, part)


def part_of(tokens: Int64[Tensor, "batch length"], start: int, kept: int, generator: torch.Generator) -> Part:
    """All tokens before `start`, and `kept` of those after: at random, those of the commonest code last of all.

    Of that code, which is the batch's, a quarter is kept free, so that every token has a chance.
    """
    finest = tokens[:, start:]
    common = finest == finest.flatten().mode().values
    order = torch.rand(finest.shape, generator=generator, device=tokens.device)
    count = common.sum(dim=1, keepdim=True)
    of_common = torch.maximum(kept - (finest.shape[1] - count), count.clamp_max(max(1, kept // COMMON)))
    # The place of each token among those of its kind.
    place = torch.where(common, _places(order + ~common), _places(order + common))
    chosen = place < torch.where(common, of_common, kept - of_common)
    positions = chosen.nonzero()[:, 1].view(len(tokens), kept)
    stands_for = torch.where(common, count / of_common, (finest.shape[1] - count) / (kept - of_common))
    before = torch.arange(start, device=tokens.device).expand(len(tokens), -1)
    weights = torch.cat((torch.ones(before.shape, device=tokens.device), stands_for.gather(1, positions)), dim=1)
    return Part(torch.cat((before, positions + start), dim=1), weights)


def _places(order: Float[Tensor, "batch length"]) -> Int64[Tensor, "batch length"]:
    return order.argsort(dim=1).argsort(dim=1)
