"""What the loop over scales asks of a transformer."""

from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.tokenizer import Accumulator
from var.transformer.config import VARConfig


class Pass(Protocol):
    """A transformer on its way through the scales of one call."""

    def logits(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of the tokens of `scale`, given the latent accumulated before it (None at the first scale)."""
        ...


class Forward(Protocol):
    """A transformer as generation uses it; what a call needs is in the `Pass` that it begins."""

    @property
    def accumulator(self) -> Accumulator:
        """What turns token maps into latents, and latents into inputs."""
        ...

    def begin(self, labels: Int64[Tensor, " batch"], *, guide: bool) -> Pass:
        """The pass of a call for these labels; with `guide` the model is run without them too."""
        ...


def with_null(labels: Int64[Tensor, " batch"], config: VARConfig) -> Int64[Tensor, " twice_batch"]:
    """The labels, and after them as many null labels, as guidance wants them."""
    return torch.cat((labels, torch.full_like(labels, config.num_classes)))
