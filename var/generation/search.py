"""Search over scales: several candidates of the coarse maps, and only the best of each image is refined.

Coarse maps are few tokens and decide what is shown: best-of-n costs n times these and once the rest. Images so made are
those of another sampler, and their scores stand apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.errors import UserError
from var.generation.decoding import ImageDecoder
from var.generation.draws import Draws, PerImageDraws
from var.generation.verifiers import Compared, Verifier, checked_scores, verifier_of
from var.names import received
from var.randomness import keyed_generator
from var.sampling.numbers import plain, whole
from var.sampling.prompts import Prompt
from var.transformer.config import VARConfig

MOST = 1024
"""Candidates of an image; more are a slip."""


class Kept(NamedTuple):
    """The candidates that go on, one of each image, and their randomness."""

    rows: Int64[Tensor, " batch"]
    draws: Draws


@dataclass(frozen=True, slots=True)
class Search:
    """How many candidates of each image draw the scales up to and with `keep_scale`, and who picks one of them.

    The one that the `verifier` scores best is refined, see `verifier_of`. The first has the image's own stream, so that
    one candidate is a plain call. The output says in `search` what was done.
    """

    candidates: int
    keep_scale: int
    verifier: Verifier
    name: str  # of the verifier
    prompts: str | Sequence[str] | None  # asked for, by all images or by each

    @classmethod
    def of(
        cls,
        candidates: Any,
        keep_scale: Any,
        verifier: Any,
        model: VARConfig,
        prompt: Prompt,
        *,
        official: bool,
    ) -> Self | None:
        """As the arguments of a call say, None for one candidate; raises `UserError` for what cannot be.

        Without a `keep_scale` two thirds of the scales are drawn by all candidates.
        """
        scales = len(model.schedule)
        if candidates is None and keep_scale is not None:
            raise UserError(
                f"keep_scale is of a search among candidates, got {received(keep_scale, 50)} without candidates; pass "
                "these, or keep scales of an image by keep_scales"
            )
        count = 1 if candidates is None else whole(candidates, "candidates")
        if not 1 <= count <= MOST:
            raise UserError(f"candidates must be from 1 to {MOST} for an image, got {count}; 1 is no search")
        last = min(2 * scales // 3, scales - 1) if keep_scale is None else whole(keep_scale, "keep_scale")
        if not 0 <= last < scales:
            raise UserError(
                f"keep_scale must be the last scale that all candidates draw, from 0 to {scales - 1}, got {last}; "
                "correct it"
            )
        judge = verifier_of(verifier, model.num_classes)
        if count > 1 and official:
            raise UserError("official_stream is one stream for all images, got candidates beside it; pass seeds")
        name = verifier if isinstance(verifier, str) else getattr(verifier, "name", None) or type(verifier).__name__
        return cls(count, last, judge, str(name), plain(prompt, "prompt")) if count > 1 else None

    def check_kept(self, scales: int, total: int) -> None:
        """Raise `UserError` where all candidates keep so many `scales` of an image that they do not differ."""
        if self.keep_scale < scales:
            remedy = "raise keep_scale" if scales < total else "leave candidates out, or keep fewer scales"
            raise UserError(
                f"candidates must differ in a scale that they draw, got keep_scale={self.keep_scale} where all keep "
                f"{scales} scales of the image; {remedy}"
            )

    def wide(self, condition: Condition) -> Condition:
        """The condition of all candidates, those of an image beside each other."""
        return condition.each(lambda part: part.repeat_interleave(self.candidates, dim=0))

    def streams(self, draws: Draws, seeds: Sequence[int]) -> PerImageDraws:
        """Theirs: the first candidate has its image's own stream, the others have streams keyed by its seed."""
        assert isinstance(draws, PerImageDraws)
        others = range(1, self.candidates)
        return PerImageDraws(
            [
                stream
                for own, seed in zip(draws.generators, seeds, strict=True)
                for stream in (own, *(keyed_generator("candidate", seed, each, device=own.device) for each in others))
            ]
        )

    def record(self, rows: Int64[Tensor, " batch"]) -> dict[str, Any]:
        """What is told of images so made, fit for JSON."""
        picked = (rows % self.candidates).tolist()
        settings = {"candidates": self.candidates, "keep_scale": self.keep_scale, "verifier": self.name}
        return {**settings, "picked": picked}


@dataclass(slots=True)
class Pruning:
    """A search on its way through the scales of one call."""

    search: Search
    condition: Condition  # of all candidates, as their draws
    draws: PerImageDraws
    decode: ImageDecoder
    rows: Int64[Tensor, " batch"] = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    likelihood: Float[Tensor, " rows"] | float = 0.0

    def __call__(
        self,
        scale: int,
        logits: Float[Tensor, "rows new vocabulary"],
        token_map: Int64[Tensor, "rows _h _w"],
        latent: Float[Tensor, "rows width h w"],
    ) -> Kept | None:
        """Which rows go on after `scale`; None for all."""
        if scale > self.search.keep_scale:
            return None
        own = logits.log_softmax(dim=-1).gather(-1, token_map.flatten(1)[..., None])
        self.likelihood = self.likelihood + own.sum(dim=(1, 2))
        if scale < self.search.keep_scale:
            return None
        texts = self.search.prompts
        images = len(self.condition) // self.search.candidates
        each = [texts] * images if isinstance(texts, str) else texts
        prompts = None if each is None else [text for text in each for _ in range(self.search.candidates)]
        assert isinstance(self.likelihood, Tensor)
        found = Compared(self.decode, latent, self.likelihood, self.condition, prompts)
        scores = checked_scores(self.search.verifier(found), len(self.condition)).view(images, self.search.candidates)
        self.rows = scores.argmax(dim=1).cpu() + self.search.candidates * torch.arange(images)
        streams = [self.draws.generators[row] for row in self.rows.tolist()]
        return Kept(self.rows.to(latent.device), PerImageDraws(streams))
