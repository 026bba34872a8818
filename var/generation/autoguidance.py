"""Guidance by a weaker model (Karras et al. 2024, arXiv 2406.02507): its prediction stands in for the null."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from var.conditions import Condition
from var.generation.drawing import Drawn
from var.generation.loop import Forward, Pass
from var.tokenizer import Accumulator


@dataclass(frozen=True, slots=True)
class Autoguided:
    """Two transformers of one tokenizer, as generation runs them: weaker + scale (model - weaker), scale by scale.

    The weaker one is not run where guidance is off for good.
    """

    model: Forward
    weaker: Forward

    @property
    def accumulator(self) -> Accumulator:
        """That of the model."""
        return self.model.accumulator

    @property
    def passes(self) -> Sequence[Sequence[Tensor]]:
        """Those of the model."""
        return self.model.passes

    def begin(self, condition: Condition, *, guide: bool) -> Pass:
        """The pass of a call; both are shown the condition."""
        started = self.model.begin(condition, guide=False)
        return AutoguidedPass(started, self.weaker.begin(condition, guide=False)) if guide else started


@dataclass(frozen=True, slots=True)
class AutoguidedPass:
    """One call of both."""

    model: Pass
    weaker: Pass

    def logits(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float | None, drawn: Drawn = ()
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Guided logits of the tokens of `scale`; see `Pass`."""
        logits = self.model.logits(scale, latent, None, drawn)
        if guidance is None:
            return logits
        return torch.lerp(self.weaker.logits(scale, latent, None, drawn), logits, guidance)

    def remember(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float | None, drawn: Drawn = ()
    ) -> None:
        """See `Pass`."""
        self.model.remember(scale, latent, None, drawn)
        if guidance is not None:
            self.weaker.remember(scale, latent, None, drawn)

    def select(self, rows: Tensor) -> "AutoguidedPass":
        """See `Pass`."""
        return AutoguidedPass(self.model.select(rows), self.weaker.select(rows))
