"""What a call of a pipeline draws, and how: made of its arguments before any work, then carried out."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from tqdm.auto import tqdm

from diffusion_baseline.denoising import Denoising
from diffusion_baseline.output import DiffusionOutput
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.stepping import normal
from var.conditions import Condition
from var.eval_mode import eval_mode
from var.sampling.finite import Finite
from var.sampling.guidance import Guidance
from var.sampling.reporting import Reporting


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what its images show, the randomness of each, the way to them, and what is handed back."""

    condition: Condition
    seeds: list[int]
    generators: list[Generator]
    settings: SamplingSettings
    guidance: Guidance
    sample: Callable[..., Tensor]
    options: Mapping[str, Any]  # of `sample`
    reporting: Reporting

    def output(self, pipeline: Denoising, decode: Callable[[Tensor], Tensor]) -> DiffusionOutput:
        """Its images, drawn by the network of `pipeline`, which `decode` makes of what is diffused."""
        reporting, config = self.reporting, pipeline._network().config
        like = torch.empty(0, device=pipeline.device)
        noise = normal((len(self.seeds), config.image_channels, *config.size), self.generators, like)
        predicted: list[Tensor] | None = [] if reporting.return_intermediates else None
        finite = Finite("generation needs finite predictions", "look at the network's weights")
        condition = self.condition.to(pipeline.device)
        denoise = pipeline._denoiser(condition, self.settings, finite, predicted, self.guidance)
        bar = tqdm(total=self.options["steps"], desc=self.settings.sampler, leave=False, disable=not reporting.progress)

        def on_step(index: int, timestep: int, x: Tensor) -> None:
            bar.update()
            reporting.on_step(index, timestep, x)

        weaker = self.guidance.weaker
        with ExitStack() as models, bar:
            for model in (pipeline.unet, self.guidance.classifier, weaker and weaker.unet):
                if model is not None:
                    models.enter_context(eval_mode(model))
            how = {"generator": self.generators, "on_step": on_step, **self.options}
            x = self.sample(denoise, noise, pipeline.schedule, **how)
        finite.checked(x)  # steps may leave the range although no prediction did
        finite.settle()
        return DiffusionOutput(
            images=reporting.formatted(decode(x)),
            labels=self.condition.classes(config.num_classes),
            seeds=self.seeds,
            intermediates=None if predicted is None else [reporting.formatted(decode(x)) for x in predicted],
        )
