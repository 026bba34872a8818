"""The loop over scales: predict a token map, add its codes to the latent, feed the latent on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.generation.drawing import Drawing, Drawn, Put, as_drawn
from var.generation.draws import Draws
from var.generation.sampling_settings import SamplingSettings
from var.generation.spatial import SpatialGuidance
from var.sampling.finite import Finite
from var.tokenizer import Accumulator

OnScale = Callable[[int, Tensor, Tensor], None]
"""Called after every scale with its index, its token map and the latent accumulated so far."""


class Kept(Protocol):
    """Some of the rows of a call, and the randomness with which they go on."""

    @property
    def rows(self) -> Int64[Tensor, " chosen"]:
        """Which ones."""
        ...

    @property
    def draws(self) -> Draws:
        """Their randomness."""
        ...


Prune = Callable[[int, Tensor, Tensor, Tensor], Kept | None]
"""Called after every scale with its index, its logits, its token map and the latent: which rows go on; None for all."""


class Pass(Protocol):
    """A transformer on its way through the scales of one call."""

    def logits(
        self,
        scale: int,
        latent: Float[Tensor, "batch width h w"] | None,
        guidance: float | None,
        drawn: Drawn = (),
    ) -> Float[Tensor, "batch new vocabulary"]:
        """Logits of what the next pass of `scale` draws, given the latent accumulated before it (None at the first).

        `drawn` are the tokens of its passes so far. `guidance` None is 1 for good: from there on the model need not be
        run without the condition.
        """
        ...

    def remember(
        self,
        scale: int,
        latent: Float[Tensor, "batch width h w"] | None,
        guidance: float | None,
        drawn: Drawn = (),
    ) -> None:
        """Take in a pass of `scale` as `logits` does, for what comes after it, and predict nothing."""
        ...

    def select(self, rows: Int64[Tensor, " chosen"]) -> "Pass":
        """The same for some of the images only, with what was taken in of them."""
        ...


class Forward(Protocol):
    """A transformer as generation uses it; what a call needs is in the `Pass` that it begins."""

    @property
    def accumulator(self) -> Accumulator:
        """What turns token maps into latents, and latents into inputs."""
        ...

    @property
    def passes(self) -> Sequence[Sequence[Int64[Tensor, " some"]]]:
        """For every scale, the positions in its map that each of its passes draws."""
        ...

    def begin(self, condition: Condition, *, guide: bool) -> Pass:
        """The pass of a call for this condition; with `guide` the model is run without it too."""
        ...


@dataclass(frozen=True, slots=True)
class Generated:
    """Token maps, coarse to fine, and the accumulated latent after every scale."""

    token_maps: list[Int64[Tensor, "batch _h _w"]]
    latents: list[Float[Tensor, "batch width h w"]]


@torch.no_grad()
def generate(
    forward: Forward,
    condition: Condition,
    *,
    guidance: Sequence[float],
    sampling: SamplingSettings,
    draws: Draws,
    scales: Iterable[int] | None = None,
    put: Put = as_drawn,
    on_scale: OnScale | None = None,
    prune: Prune | None = None,
) -> Generated:
    """Draw the token maps of a `condition` scale by scale (arXiv 2404.02905, Algorithm 2 decodes the result).

    `guidance` holds a guidance scale for every scale; from where on all are 1 the null half is not computed. `scales`
    may wrap the scale indices, for a progress bar; `put` may replace tokens of each map before the finer ones see it.
    Raises `UserError` where the model computes NaN or infinity, before anything is drawn from it; on other devices than
    a CPU at the end, so that no scale waits.
    """
    accumulator = forward.accumulator
    settings = [sampling.at(scale, len(accumulator.scales)) for scale in range(len(accumulator.scales))]
    guided = max((scale + 1 for scale, each in enumerate(guidance) if each != 1), default=0)  # from there on all are 1
    started = forward.begin(condition, guide=guided > 0)
    spatial = SpatialGuidance(accumulator.scales, forward.passes, [each.spatial_guidance for each in settings])
    token_maps: list[Tensor] = []
    latents: list[Tensor] = []
    remedy = "use dtype float32 or bfloat16, or look at the model's weights"
    finite = Finite("generation needs finite logits", remedy)
    ended = Finite("generation needs finite latents", remedy)
    for scale in range(len(settings)) if scales is None else scales:
        strength = guidance[scale] if scale < guided else None
        latent = latents[-1] if latents else None
        drawing = Drawing(scale, accumulator, forward.passes[scale], settings[scale], draws, put, finite)
        predict = spatial.guided(scale, partial(started.logits, scale, latent, strength))
        logits, token_map = drawing.token_map(predict)
        part = drawing.contribution(logits, token_map)
        token_maps.append(token_map)
        latents.append(latents[-1] + part if latents else part)
        if prune is not None and (kept := prune(scale, logits, token_map, latents[-1])) is not None:
            started, draws = started.select(kept.rows), kept.draws
            spatial.select(kept.rows)
            token_maps, latents = ([each[kept.rows] for each in made] for made in (token_maps, latents))
        if on_scale is not None:
            on_scale(scale, token_maps[-1], latents[-1])
    ended.checked(latents[-1])
    finite.settle()
    ended.settle()
    return Generated(token_maps, latents)
