"""Spatial guidance (SSG, arXiv 2602.05534): strengthen what a map says that the one before it did not say yet.

Training-free, and without another pass of the transformer: logits + beta (logits - prior), where the prior are the
logits of the map before, enlarged to the size of this one: bilinearly, where the paper works on their frequencies.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from var.generation.drawing import Drawn
from var.scales import ScaleSchedule

Predict = Callable[[Drawn], Tensor]
"""The logits of the next pass of a map, given what was drawn of it."""


class SpatialGuidance:
    """That of a call: it remembers the logits of the last map, as long as a finer one is guided by them."""

    def __init__(
        self, scales: ScaleSchedule, passes: Sequence[Sequence[Int64[Tensor, " some"]]], strengths: Sequence[float]
    ) -> None:
        self.scales, self.passes, self.strengths = scales, passes, strengths
        self.parts: list[Tensor] = []  # logits of the last map by its passes, before they were guided

    def guided(self, scale: int, predict: Predict) -> Predict:
        """`predict` for the map of `scale`, guided where its strength is not 0."""
        strength = self.strengths[scale] if scale else 0.0  # the first map has none before it
        prior = self._prior(scale) if strength else None
        self.parts = []
        if prior is None and not any(self.strengths[scale + 1 : scale + 2]):
            return predict

        def guided(told: Drawn) -> Tensor:
            logits = predict(told)
            self.parts.append(logits)
            return logits if prior is None else logits + strength * (logits - prior[:, self.passes[scale][len(told)]])

        return guided

    def select(self, rows: Int64[Tensor, " chosen"]) -> None:
        """Go on with some of the images only."""
        self.parts = [part[rows] for part in self.parts]

    def _prior(self, scale: int) -> Float[Tensor, "batch new vocabulary"]:
        before, shape = self.scales.shapes[scale - 1 : scale + 1]
        logits = torch.cat(self.parts, dim=1)[:, torch.cat(list(self.passes[scale - 1])).argsort()]
        if before == shape:
            return logits
        return F.interpolate(logits.mT.unflatten(2, before), size=shape, mode="bilinear").flatten(2).mT
