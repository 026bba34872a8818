"""How noise becomes images: the one owner of these settings, for calls, command lines and comparisons alike."""

from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

from diffusion_baseline.samplers import SAMPLERS
from diffusion_baseline.spacings import SPACINGS
from var import checks
from var.errors import chosen
from var.sampling.numbers import check_guidance

FIRST = ("guidance_scale", "num_inference_steps", "sampler", "spacing", "eta", "clip_sample")
"""What the first records of images listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How a sampler walks from noise to an image; every field is a keyword of a pipeline's call and has an option.

    Raises `UserError` for an unknown sampler or spacing.
    """

    guidance_scale: float = field(
        default=1.5, metadata={"help": "guidance scale; 1 is off, 0 ignores the class", "option": "--guidance"}
    )
    num_inference_steps: int | None = field(
        default=None,
        metadata={"help": "network steps (default: 50 for ddim, all of them for ddpm)", "option": "--steps"},
    )
    sampler: str = field(default="ddim", metadata={"help": "the way from noise to an image", "words": SAMPLERS})
    spacing: str = field(
        default="trailing",
        metadata={"help": "which timesteps fewer steps visit; leading is that of before", "words": SPACINGS},
    )
    eta: float = field(default=0.0, metadata={"help": "randomness of ddim, from 0 to 1"})
    clip_sample: bool = field(default=False, metadata={"help": "keep predicted images in range at every step"})
    dynamic_threshold: float = field(
        default=0.0,
        metadata={"help": "bring predicted images into range by this quantile of each, such as 0.995; 0: as they are"},
    )

    def __post_init__(self) -> None:
        checks.fields(self)
        check_guidance(self.guidance_scale)
        chosen(self.sampler, SAMPLERS, "sampler")
        chosen(self.spacing, SPACINGS, "spacing")
        checks.share(self, "dynamic_threshold")
        if self.num_inference_steps is not None:
            checks.at_least(1, self, "num_inference_steps")

    def keywords(self) -> dict[str, Any]:
        """The settings as keywords of a call, and as the records of images list them.

        Settings that are younger than the first records are left out at their defaults, so that files of before match.
        """
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if name in FIRST or value != default}


class SamplingKeywords(TypedDict, total=False):
    """The fields of `SamplingSettings` as keywords of a call."""

    guidance_scale: float
    num_inference_steps: int | None
    sampler: str
    spacing: str
    eta: float
    clip_sample: bool
    dynamic_threshold: float
