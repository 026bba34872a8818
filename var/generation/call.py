"""What a call of a pipeline draws, and how: made of its arguments before any work, then carried out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from tqdm.auto import tqdm

from var.conditions import Condition
from var.generation.decoding import ImageDecoder
from var.generation.drawing import Put, as_drawn
from var.generation.draws import Draws
from var.generation.loop import Forward, generate
from var.generation.output import VAROutput
from var.generation.sampling_settings import SamplingSettings
from var.generation.search import Pruning, Search
from var.sampling.reporting import Reporting


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what its images show, the randomness of each, the rules of drawing, and what is handed back."""

    condition: Condition
    seeds: list[int]
    draws: Draws
    sampling: SamplingSettings
    guidance: Sequence[float]  # of every scale
    reporting: Reporting
    search: Search | None = None
    put: Put = as_drawn  # the tokens that are known, into those that are drawn
    finish: Callable[[Tensor], Tensor] = lambda images: images  # the pixels that are known, into decoded images

    def output(self, forward: Forward, decode: ImageDecoder, null: int) -> VAROutput:
        """Its images, drawn by `forward`; `null` is the label of those without a class."""
        condition, draws = self.condition.to(forward.accumulator.codes(0).device), self.draws
        reporting, pruning = self.reporting, None
        if self.search is not None:
            condition, draws = self.search.wide(condition), self.search.streams(draws, self.seeds)
            pruning = Pruning(self.search, condition, draws, decode)
        with tqdm(range(len(self.guidance)), desc="scales", leave=False, disable=not reporting.progress) as bar:
            result = generate(
                forward,
                condition,
                guidance=self.guidance,
                sampling=self.sampling,
                draws=draws,
                scales=bar,
                put=self.put,
                on_scale=reporting.callback_on_step_end,
                prune=pruning,
            )
        latents = result.latents[0 if reporting.return_intermediates else -1 :]
        images = [reporting.formatted(self.finish(decode(latent))) for latent in latents]
        return VAROutput(
            images=images[-1],
            tokens=result.token_maps,
            labels=self.condition.classes(null),
            seeds=self.seeds,
            intermediates=images if reporting.return_intermediates else None,
            search=None if pruning is None else pruning.search.record(pruning.rows),
        )
