"""What the loop over scales asks of a transformer."""

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from var.conditions import Condition
from var.tokenizer import Accumulator


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

    def begin(self, condition: Condition, *, guide: bool) -> Pass:
        """The pass of a call for this condition; with `guide` the model is run without it too."""
        ...
