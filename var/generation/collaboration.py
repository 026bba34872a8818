"""Two transformers of one tokenizer by turns (CoDe, Chen et al. 2024, arXiv 2411.17787).

Coarse maps are few tokens but decide what is shown; fine ones are most of the tokens, and ask less of a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from var import checks
from var.conditions import Condition
from var.errors import UserError
from var.generation.drawing import Drawn
from var.generation.engine import Engine, EnginePass
from var.generation.loop import Pass
from var.sampling.models import plain_model
from var.tokenizer import Accumulator
from var.transformer.model import VAR


@dataclass(frozen=True, slots=True)
class Collaborated:
    """`large` draws the first `handover` scales, `small` the rest, which it would draw behind given coarse maps."""

    large: Engine
    small: Engine
    handover: int

    @property
    def accumulator(self) -> Accumulator:
        """That of the large model."""
        return self.large.accumulator

    @property
    def passes(self) -> Sequence[Sequence[Tensor]]:
        """Those of the large model, which are the small one's."""
        return self.large.passes

    def begin(self, condition: Condition, *, guide: bool) -> Pass:
        """The pass of a call; one of the models alone where the other draws nothing."""
        if not 0 < self.handover < len(self.accumulator.scales):
            return (self.large if self.handover else self.small).begin(condition, guide=guide)
        started = self.large.begin(condition, guide=guide)
        return CollaboratedPass(started, self.small.begin(condition, guide=guide), self.handover)


@dataclass(frozen=True, slots=True)
class CollaboratedPass:
    """One call of both."""

    large: EnginePass
    small: EnginePass
    handover: int

    def logits(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float | None, drawn: Drawn = ()
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of the tokens of `scale`; see `Pass`."""
        if scale == self.handover and not drawn:
            self.large.release()
        if scale >= self.handover:
            return self.small.logits(scale, latent, guidance, drawn)
        self.small.remember(scale, latent, guidance, drawn)
        return self.large.logits(scale, latent, guidance, drawn)

    def remember(
        self, scale: int, latent: Float[Tensor, "batch width h w"] | None, guidance: float | None, drawn: Drawn = ()
    ) -> None:
        """See `Pass`."""
        self.small.remember(scale, latent, guidance, drawn)
        if scale < self.handover:
            self.large.remember(scale, latent, guidance, drawn)

    def select(self, rows: Tensor) -> "CollaboratedPass":
        """See `Pass`."""
        return CollaboratedPass(self.large.select(rows), self.small.select(rows), self.handover)


SHARED = (
    *("sides", "repeats", "passes", "order", "vocabulary", "code_width"),
    *("num_classes", "vector_width", "sequence_width"),
)
"""What the configs of both transformers must agree on."""


def checked_finer(finer: Any, handover: Any, model: VAR) -> VAR | None:
    """The transformer that takes over from `model` at the scale `handover`, without what is wrapped around it.

    Raises `UserError` for one of other tokens or conditions, for a scale beyond the last, and one without the other.
    """
    handover = checks.argument("handover", handover, int | None)
    if (finer is None) != (handover is None):
        raise UserError(
            f"a second transformer needs the scale where it takes over, got handover={handover}; give both or neither"
        )
    if finer is None:
        return None
    finer, last = plain_model(finer, VAR, "finer"), len(model.scales)
    if not 0 <= handover <= last:
        raise UserError(
            f"handover must be the number of scales that the large model draws, 0 to {last}, got {handover}; correct it"
        )
    for name in SHARED:
        if (found := getattr(finer.config, name)) != (wanted := getattr(model.config, name)):
            raise UserError(f"finer must have the same {name} as transformer, {wanted}, got {found}; take another")
    return finer
