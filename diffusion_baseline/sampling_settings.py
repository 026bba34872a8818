"""How noise becomes images: the one owner of these settings, for calls, command lines and comparisons alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from diffusion_baseline.samplers import SAMPLERS, called_at, usual_steps
from diffusion_baseline.spacings import SPACINGS
from var import checks
from var.configs import added, config_to_dict
from var.errors import UserError, chosen
from var.sampling.guidance import SCHEDULES, ramped
from var.sampling.numbers import check_guidance

_OWN = {"of": "sampler"}
"""Of a field: what is recommended for one sampler means nothing to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How a sampler walks from noise to an image; every field is a keyword of a pipeline's call and has an option.

    `guidance_scale` 1 means off, 0 ignores what is asked for. `num_inference_steps` is 1 to T, None being the sampler's
    own number: 50 for DDIM, T for DDPM, fewer for the others. `sampler` is "ddim", with randomness `eta` from 0 to 1,
    "ddpm", which is ancestral, or another of `samplers`. The `spacing` "trailing" begins at the noisiest timestep
    however few the steps are; "leading" is that of before. `clip_sample` keeps the predicted clean image in [-1, 1] at
    every step; `dynamic_threshold` brings it there by that quantile of each image's values. Raises `UserError` for an
    unknown word and a number outside its range.
    """

    guidance_scale: float = field(
        default=1.5, metadata={"help": "guidance scale; 1 is off, 0 ignores the class", "option": "--guidance"}
    )
    num_inference_steps: int | None = field(
        default=None,
        metadata={"help": "steps of the sampler (default: its own number)", "option": "--steps"} | _OWN,
    )
    sampler: str = field(default="ddim", metadata={"help": "the way from noise to an image", "words": SAMPLERS})
    spacing: str = field(
        default="trailing",
        metadata={"help": "which timesteps fewer steps visit; tapered: for tiny images", "words": SPACINGS},
    )
    eta: float = field(default=0.0, metadata={"help": "randomness of ddim, from 0 to 1", **_OWN})
    clip_sample: bool = field(default=False, metadata={"help": "keep predicted images in range at every step"})
    guidance_schedule: str = added("constant", help="constant, or linear, from 1 in pure noise", words=SCHEDULES)
    guidance_interval: tuple[float, float] = added(
        (0.0, 1.0), help="noise levels with guidance, 0 being the image and 1 pure noise", metavar="LEVEL"
    )
    classifier_scale: float = added(1.0, help="how far a classifier guides")
    dynamic_threshold: float = added(
        0.0, help="bring predicted images into range by this quantile of each, such as 0.995; 0: as they are"
    )

    def __post_init__(self) -> None:
        checks.fields(self)
        check_guidance((self.guidance_scale, self.classifier_scale))
        chosen(self.guidance_schedule, dict.fromkeys(SCHEDULES), "guidance_schedule")
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"guidance_interval must be two noise levels in [0, 1], the lower one first, got {low} and {high}; "
                "correct it"
            )
        chosen(self.sampler, SAMPLERS, "sampler")
        chosen(self.spacing, SPACINGS, "spacing")
        checks.share(self, "dynamic_threshold")
        if self.num_inference_steps is not None:
            checks.at_least(1, self, "num_inference_steps")

    def keywords(self) -> dict[str, Any]:
        """The settings as keywords of a call, and as the records of images list them."""
        return config_to_dict(self)

    def steps(self, num_timesteps: int) -> int:
        """Steps of the walk through so many timesteps: as said, else the sampler's own number, at most all of them."""
        said = self.num_inference_steps
        return usual_steps(self.sampler, num_timesteps) if said is None else said

    def evaluations(self, noise: Sequence[float]) -> int:
        """Evaluations of the network for an image, at most, where `noise` is its share at each timestep, from 0 to 1.

        With guidance a call takes two.
        """
        timesteps = SPACINGS[self.spacing](self.steps(len(noise)), len(noise))
        scales = [self.guidance_at(noise[t]) for t in called_at(self.sampler, timesteps)]
        return sum(1 if scale in (0, 1) else 2 for scale in scales)

    def guides_at(self, level: float) -> bool:
        """Whether guidance is on at this share of noise in x_t, from 0 to 1."""
        low, high = self.guidance_interval
        return low < level <= high  # half open as the interval of Kynkaanniemi et al. 2024, Eq. 3

    def guidance_at(self, level: float) -> float:
        """The guidance scale there; 1 means off."""
        return ramped(self.guidance_scale, self.guidance_schedule, 1 - level, 1) if self.guides_at(level) else 1.0

    @property
    def guides_everywhere(self) -> bool:
        """Whether the interval is all levels."""
        return self.guidance_interval == (0, 1)


class SamplingKeywords(TypedDict, total=False):
    """The fields of `SamplingSettings` as keywords of a call."""

    guidance_scale: float
    num_inference_steps: int | None
    sampler: str
    spacing: str
    eta: float
    clip_sample: bool
    guidance_schedule: str
    guidance_interval: Sequence[float]
    classifier_scale: float
    dynamic_threshold: float
