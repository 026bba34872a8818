"""Walks that begin at images: SDEdit (arXiv 2108.01073), and in-painting as RePaint does it (arXiv 2201.09865)."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from diffusion_baseline.diffusion import add_noise
from diffusion_baseline.schedules import Denoiser, NoiseLevels
from diffusion_baseline.stepping import Walk, normal, timestep_pairs
from var import checks
from var.autoencoder import LatentCodec
from var.errors import UserError
from var.randomness import keyed_generator
from var.sampling.editing import GivenImages, GivenMasks, Start
from var.sampling.labels import ClassLabels
from var.sampling.numbers import calling
from var.sampling.pipelines import ConditionedPipeline

Sampler = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Start):
    """How a walk begins at images, and what it keeps of them.

    `strength`, in (0, 1], is the share of the timesteps that it goes through; 1 begins with noise alone. Each stretch
    of `jump` steps is gone through `resampling` times. Raises `UserError` for a setting outside its range.
    """

    strength: float
    resampling: int = 1
    jump: int = 1

    def __post_init__(self) -> None:
        if not 0 < checks.argument("strength", self.strength, float) <= 1:
            raise UserError(f"strength must lie in (0, 1], where 1 begins with noise, got {self.strength}; correct it")
        for name in ("resampling", "jump"):
            checks.argument(name, getattr(self, name), int)
        checks.at_least(1, self, "resampling", "jump")

    def around(
        self, sample: Sampler, options: Mapping[str, Any], schedule: NoiseLevels, seeds: Sequence[int]
    ) -> tuple[Sampler, dict[str, Any]]:
        """A sampler that begins at the images, made of one that begins with noise, and the `options` for it.

        Raises `UserError` for masks if the other one takes no `Walk`.
        """
        schedule, levels = self.descent(options, schedule)

        def begin(noise: Tensor) -> Tensor:
            if self.strength == 1:
                return noise
            return add_noise(self.images.to(noise).expand_as(noise), noise, levels[0], schedule)

        if self.masks is None:

            def vary(denoise: Denoiser, noise: Tensor, _: NoiseLevels, **others: Any) -> Tensor:
                return sample(denoise, begin(noise), schedule, **others)

            return vary, {**options, "steps": len(levels) - 1}
        if not paints(sample):
            raise UserError(
                f"in-painting changes the image between steps, for which {sample.__name__} has no place; choose ddim "
                "or another sampler with a spacing"
            )
        walks = self._walks(levels)

        def paint(denoise: Denoiser, noise: Tensor, _: NoiseLevels, **others: Any) -> Tensor:
            x = self.images.to(noise.device).expand(noise.shape).clone()
            for path, rows in walks:
                known = Known(self, schedule, seeds)
                own: dict[str, Any] = {"spacing": Walk(path, known)}
                if path != levels:
                    own["generator"] = known.generators
                drawn = sample(denoise, known(begin(noise), path[0]), schedule, **{**others, **own})
                x = torch.where(rows.to(x.device), drawn, x)
            return x

        return paint, {**options, "steps": sum(len(path) - 1 for path, _ in walks)}

    def descent(self, options: Mapping[str, Any], schedule: NoiseLevels) -> tuple[NoiseLevels, list[int]]:
        """The part of the schedule that is gone through, and the timesteps visited in it, to -1 for the clean image."""
        schedule = schedule.first(max(1, round(self.strength * schedule.num_timesteps)))
        steps = max(1, round(self.strength * options["steps"]))
        pairs = timestep_pairs(steps, schedule.num_timesteps, options.get("spacing", "trailing"))
        return schedule, [*(t for t, _ in pairs), -1]

    def _walks(self, levels: list[int]) -> list[tuple[list[int], Bool[Tensor, "masks 1 h w"]]]:
        """The paths that are walked, and what is drawn by each."""
        assert self.masks is not None
        # Where nothing is kept there is nothing to fit to: that image is the one of a call without images.
        whole = self.masks.all(-1, keepdim=True).all(-2, keepdim=True)
        path = stretches(levels, self.jump, self.resampling)
        walks = [(levels, self.masks & whole), (path, self.masks & ~whole)]
        if path == levels:
            walks = [(levels, self.masks)]
        return [(path, redrawn) for path, redrawn in walks if redrawn.any()]


class Known:
    """What is kept of images in a walk: put in at each of its timesteps, with fresh noise of their levels.

    The noise has streams of its own, so that a sampler draws what it would without images.
    """

    def __init__(self, edit: Edit, schedule: NoiseLevels, seeds: Sequence[int]) -> None:
        assert edit.masks is not None
        self.images, self.masks, self.schedule = edit.images, edit.masks, schedule
        self.generators = [keyed_generator("known", seed) for seed in seeds]

    def __call__(self, x: Tensor, t: int) -> Tensor:
        """The images at timestep t where they are kept, and x elsewhere (Lugmayr et al. 2022, Eq. 8)."""
        images = self.images.to(x).expand_as(x)
        if t >= 0:
            images = add_noise(images, normal(x.shape, self.generators, x), t, self.schedule)
        return torch.where(self.masks.to(x.device), x, images)


def paints(sample: Callable[..., Any]) -> bool:
    """Whether a sampler offers what in-painting needs: a choice of its levels, with something done between them."""
    return "spacing" in inspect.signature(sample).parameters


def stretches(levels: Sequence[int], jump: int, times: int) -> list[int]:
    """The same levels, of which each stretch of `jump` steps is gone through so many times."""
    path = list(levels[:1])
    for start in range(0, len(levels) - 1, jump):
        stretch = levels[start : start + jump + 1]
        path += [*stretch[1:], *(times - 1) * [*stretch]]
    return path


class Edits(ConditionedPipeline):
    """The part of a pipeline that begins at images; what it gives is what a call gives."""

    codec: LatentCodec | None

    @calling
    def edit(
        self,
        images: GivenImages,
        masks: GivenMasks,
        class_labels: ClassLabels = None,
        *,
        strength: float = 1.0,
        resampling: int = 4,
        jump: int = 1,
        **call: Any,
    ) -> Any:
        """Redraw what is True in the masks, and keep the rest of the images as it is (Lugmayr et al. 2022).

        For `images` and `masks`, one each or one for all, see `given_images` and `given_masks`. What is kept is put in
        at every step, noised to its level. `strength`, in (0, 1], says how much of what is redrawn may change: below 1
        it begins as in `variations`. For a better fit each stretch of `jump` steps is gone through `resampling` times,
        which takes as many times the work. The rest of the `call` is that of the pipeline; a mask of all True is a call
        without an image. Raises `UserError` as that does, and for what does not fit the model.
        """
        own = {"strength": strength, "resampling": resampling, "jump": jump}
        return self(class_labels, edit=Edit.of(edited_shape(self), images, masks, **own), **call)

    @calling
    def variations(
        self, images: GivenImages, class_labels: ClassLabels = None, *, strength: float = 0.5, **call: Any
    ) -> Any:
        """Noise images to the level at the share `strength`, in (0, 1], of the timesteps, and denoise them from there.

        That is SDEdit (Meng et al. 2022): at 1 nothing of the images is left. The rest is as for `edit`.
        """
        return self(class_labels, edit=Edit.of(edited_shape(self), images, strength=strength), **call)


def edited_shape(pipeline: Edits) -> tuple[int, int, int]:
    """(channels, height, width) of images to edit; raises `UserError` where latents are diffused."""
    if pipeline.codec is not None:
        raise UserError("images are edited where pixels are diffused, got a model of latents; use one without a codec")
    return pipeline.image_shape
