"""A cascade: small images by one pipeline, enlarged by another (Ho et al. 2022, arXiv 2106.15282)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_baseline.diffusion import add_noise
from diffusion_baseline.output import DiffusionOutput
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.sampling_settings import SamplingKeywords, SamplingSettings
from diffusion_baseline.stepping import normal
from diffusion_baseline.super_resolution import Enlarging
from var.errors import UserError
from var.hub import PretrainedPipeline
from var.images import check_images, format_images
from var.names import received
from var.randomness import keyed_generator, keyed_seed
from var.sampling.guidance import Guidance
from var.sampling.labels import ClassLabels, Count, count_images
from var.sampling.prompts import Prompt
from var.sampling.reporting import Reporting
from var.sampling.streams import Generators, GivenSeeds, random_streams
from var.sampling.vectors import Vectors
from var.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CascadeOutput(DiffusionOutput):
    """Images, and the small ones of which they are made."""

    small: Any  # in the form of the images


class CascadePipeline(PretrainedPipeline):
    """A pipeline for small images, `base`, and one whose network enlarges them, `super_resolution`.

    Raises `UserError` unless the images of one are those that the other enlarges, of the same classes.
    """

    package = "diffusion_baseline"
    parts = {"base": DiffusionPipeline, "super_resolution": DiffusionPipeline}  # noqa: RUF012 (never changed)

    def __init__(self, base: DiffusionPipeline, super_resolution: DiffusionPipeline) -> None:
        for name, part in (("base", base), ("super_resolution", super_resolution)):
            if not isinstance(part, DiffusionPipeline):
                raise UserError(f"{name} must be a DiffusionPipeline, got {type(part).__name__}; load or build one")
        wanted = small_shape(super_resolution)
        if base.image_shape != wanted:
            raise UserError(
                "the base must make the small images (channels, height, width) that super_resolution enlarges, "
                f"{wanted}, got {base.image_shape}; pair pipelines that were trained for each other"
            )
        if base.class_names != super_resolution.class_names:
            raise UserError(
                f"both pipelines must know the same classes, got {len(base.class_names or ())} and "
                f"{len(super_resolution.class_names or ())} or other names; train both on the same data"
            )
        self.base, self.super_resolution = base, super_resolution
        self.terms = Terms.joined((base.terms, super_resolution.terms))

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, which both pipelines know."""
        return self.super_resolution.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.super_resolution.image_shape

    def _shows(self) -> list[str]:
        return self.super_resolution._shows()

    @property
    def _asked(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.base._asked

    def __call__(
        self,
        class_labels: ClassLabels = None,
        num_images: Count = None,
        *,
        prompt: Prompt = None,
        vectors: Vectors = None,
        guidance: Guidance | None = None,
        sampling: SamplingSettings | None = None,
        small_sampling: SamplingSettings | None = None,
        augmentation: float | None = None,
        generator: Generators = None,
        seeds: GivenSeeds = None,
        output_type: str = "pil",
        return_intermediates: bool = False,
        callback_on_step_end: Callable[[int, int, Tensor], None] | None = None,
        progress: bool = True,
        **keywords: Unpack[SamplingKeywords],
    ) -> CascadeOutput:
        """Generate images; arguments and errors as for `DiffusionPipeline`, both of which are told the same.

        `guidance`, `sampling` and the keywords are for both, unless the small images have a `small_sampling` of their
        own. `augmentation` is as `enlarge` takes it. `callback_on_step_end` and intermediates are of the enlarging.
        """
        # What the enlarging would refuse is refused before the small images are drawn.
        Reporting(self.image_shape[0], output_type, return_intermediates, callback_on_step_end, progress)
        _share(augmentation, self.super_resolution)
        count = count_images(class_labels, num_images, seeds, vectors, prompt)
        _, seeds = random_streams(count, generator, seeds)
        shown: dict[str, Any] = {"prompt": prompt, "vectors": vectors, "seeds": seeds, "progress": progress}
        own: dict[str, Any] = {"guidance": guidance, "sampling": sampling, **keywords}
        first: dict[str, Any] = {"sampling": small_sampling} if small_sampling is not None else own
        small = self.base(class_labels, output_type="pt", **shown, **first).images * 2 - 1
        out = enlarge(
            self.super_resolution,
            small,
            class_labels,
            augmentation=augmentation,
            output_type=output_type,
            return_intermediates=return_intermediates,
            callback_on_step_end=callback_on_step_end,
            **shown,
            **own,
        )
        values = {name: getattr(out, name) for name in ("images", "labels", "seeds", "intermediates")}
        return CascadeOutput(**values, small=format_images(small, output_type))


def small_shape(pipeline: DiffusionPipeline) -> tuple[int, int, int]:
    """(channels, height, width) of the images that a pipeline enlarges; raises `UserError` if it enlarges none."""
    config = pipeline.unet.config
    if not config.small_size:
        raise UserError("super_resolution needs a U-Net that enlarges images, got small_size=0; train one with it")
    return config.image_channels, *config.small


@torch.no_grad()
def enlarge(
    pipeline: DiffusionPipeline,
    small: Float[Tensor, "batch c h w"],
    class_labels: ClassLabels = None,
    *,
    prompt: Prompt = None,
    vectors: Vectors = None,
    augmentation: float | None = None,
    seeds: GivenSeeds = None,
    **keywords: Any,
) -> DiffusionOutput:
    """Large images of `small` ones in [-1, 1], of what they show; `keywords` and errors as for `DiffusionPipeline`.

    `augmentation` is the share of the timesteps whose noise the small images get, from 0 to the network's
    `small_noise`, of which half is the default (conditioning augmentation, Section 4.2). An image depends on its seed
    and its small image only.
    """
    channels, *size = small_shape(pipeline)
    check_images(small, channels=channels, size=(size[0], size[1]), name="small images")
    count, schedule, device = len(small), pipeline.schedule, pipeline.device
    level = round(_share(augmentation, pipeline) * schedule.num_timesteps)
    _, seeds = random_streams(count, None, seeds)
    condition = pipeline._condition(class_labels, prompt, vectors, count, seeds).to(device)
    noise = normal(small.shape, [keyed_generator("small noise", seed) for seed in seeds], small)
    small = add_noise(small, noise, level - 1, schedule).to(device)
    shown = Enlarging.made_of(condition, small, torch.full((count,), level, device=device))
    # Of streams of their own: those of the seeds have drawn the small images.
    out = pipeline(shown, seeds=[keyed_seed("enlarge", seed) for seed in seeds], **keywords)
    return replace(out, seeds=seeds)


def _share(augmentation: float | None, pipeline: DiffusionPipeline) -> float:
    """How much noise small images get; raises `UserError` for more than the network has learnt of."""
    most = pipeline.unet.config.small_noise
    share = most / 2 if augmentation is None else augmentation
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= most:
        raise UserError(
            f"augmentation must lie between 0 and the {most:g} of the training (unet.small_noise), got "
            f"{received(share)}; change it"
        )
    return share
