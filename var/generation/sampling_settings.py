"""How token maps are drawn: the one owner of these settings, for calls, command lines and runs alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, Self, TypedDict, cast

from var import checks
from var.configs import added
from var.errors import UserError, chosen
from var.sampling.guidance import SCHEDULES, ramped
from var.sampling.numbers import check_guidance

LEAST_TEMPERATURE = 1e-6
"""Below it logits that are divided by it leave the range of float32, or lose all difference in its rounding."""

FIRST = ("guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p", "smooth")
"""What the first records of images listed."""

LISTED = ("temperature", "top_k", "top_p", "min_p", "smooth", "spatial_guidance")
"""What may be a list with one for each scale, besides the guidance scale."""


class AtScale(Protocol):
    """The settings of one scale, in which nothing is listed."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    smooth: bool
    spatial_guidance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How tokens are drawn from logits; every field is a keyword of a pipeline's call and has an option.

    A number may be a tuple with one for each scale; guidance scales need no schedule then. `guidance_scale` 1 means
    off, and the schedule "linear" goes from 1 at the first scale to it, at the scales of `guidance_interval`. `smooth`
    mixes codes by Gumbel-softmax; `spatial_guidance` is `SpatialGuidance`'s. Raises `UserError` for what is impossible.
    """

    guidance_scale: float | tuple[float, ...] = field(
        default=1.5,
        metadata={
            "help": "guidance scale; 1 is off, 0 ignores the class (by the last scale where the schedule is linear)",
            "option": "--guidance",
        },
    )
    guidance_schedule: str = field(
        default="linear", metadata={"help": "linear, from 1 at the first scale, or constant", "words": SCHEDULES}
    )
    guidance_interval: tuple[int, int | None] = added(
        (0, None), help="scales with guidance, counted from 0: the first one, and the first without", metavar="SCALE"
    )
    temperature: float | tuple[float, ...] = field(default=1.0, metadata={"help": "divides the logits"})
    top_k: int | tuple[int, ...] = field(default=0, metadata={"help": "draw among the k likeliest codes; 0: all"})
    top_p: float | tuple[float, ...] = field(
        default=0.0, metadata={"help": "draw among the likeliest codes of this probability; 0: all"}
    )
    min_p: float | tuple[float, ...] = field(
        default=0.0, metadata={"help": "draw among codes at least so probable, as a share of the likeliest; 0: all"}
    )
    smooth: bool | tuple[bool, ...] = field(
        default=False, metadata={"help": "mix codes by Gumbel-softmax instead of drawing one"}
    )
    spatial_guidance: float | tuple[float, ...] = added(
        0.0, help="strengthens what a map says beyond the one before it, in the same time; 0 is off"
    )

    def __post_init__(self) -> None:
        checks.fields(self)
        chosen(self.guidance_schedule, dict.fromkeys(SCHEDULES), "guidance_schedule")
        check_guidance(self.guidance_scale)
        start, stop = self.guidance_interval
        if start < 0 or (stop is not None and stop <= start):
            raise UserError(
                f"guidance_interval must be a scale from 0 on and a later one, got {start} and {stop}; for no guidance "
                "give guidance_scale=1"
            )
        if not min(_each(self.temperature), default=1) >= LEAST_TEMPERATURE:
            raise UserError(
                f"temperature must be positive, got {self.temperature}; take {LEAST_TEMPERATURE:g} or more, and for "
                "the likeliest code use top_k=1"
            )
        if min(_each(self.top_k), default=0) < 0:
            raise UserError(f"top_k must be a count of codes or 0 for all, got {self.top_k}; raise it")
        checks.probability(self, "top_p", "min_p")
        checks.not_negative(self, "spatial_guidance")
        checks.at_most(10**4, self, "spatial_guidance")

    def unlisted(self) -> Self:
        """Those for any number of scales: what is listed by scale is as it is by default."""
        names = ("guidance_scale", *LISTED)
        return replace(
            self,
            **{f.name: f.default for f in fields(self) if f.name in names and isinstance(getattr(self, f.name), tuple)},
        )

    def at(self, scale: int, scales: int) -> AtScale:
        """Those of `scale`, of so many `scales`; raises `UserError` for lists of another length."""
        own = {name: values[scale] for name in LISTED if (values := self._listed(name, scales)) is not None}
        return cast(AtScale, replace(self, **own) if own else self)

    def guidance_scales(self, scales: int) -> list[float]:
        """Guidance scale of every scale: `constant`, or `linear` from 1 as 1 + (gamma - 1) k / (K - 1); or as listed.

        1 means off, and stands for all scales outside the interval. The official `cfg=c` is `1 + c` with the linear
        schedule. Raises `UserError` for a list of another length than the number of scales, of any setting, and an
        interval beyond it.
        """
        self.at(0, scales)
        start, stop = self.guidance_interval
        if max(start + 1, stop or 0) > scales:
            raise UserError(
                f"guidance_interval must lie within {scales} scales, got {start} and {stop}; at most 0 and {scales}"
            )
        guided = range(scales)[start:stop]
        return [each if scale in guided else 1.0 for scale, each in enumerate(self._by_scale(scales))]

    def evaluations(self, passes: Sequence[int]) -> int:
        """Evaluations of the transformer for an image whose maps take `passes`; twice up to the last guided map."""
        guided = [scale + 1 for scale, each in enumerate(self.guidance_scales(len(passes))) if each != 1]
        return sum(passes) + sum(passes[: max(guided, default=0)])

    def _by_scale(self, scales: int) -> list[float]:
        listed, scale = self._listed("guidance_scale", scales), self.guidance_scale
        if listed is not None:
            return list(listed)
        assert not isinstance(scale, tuple)
        return [ramped(scale, self.guidance_schedule, k, max(scales - 1, 1)) for k in range(scales)]

    def _listed(self, name: str, scales: int) -> tuple[Any, ...] | None:
        """The list of the setting `name`; None where it is one for all scales."""
        values = getattr(self, name)
        if not isinstance(values, tuple):
            return None
        if len(values) != scales:
            raise UserError(
                f"{name} must be one for all or a list, one for each of {scales} scales, got {len(values)}; "
                f"give {scales}"
            )
        return values

    def keywords(self) -> dict[str, Any]:
        """The settings as keywords of a call, and as the records of images list them.

        Settings that are younger than the first records are left out at their defaults, so that files of before match.
        """
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if name in FIRST or value != default}


class SamplingKeywords(TypedDict, total=False):
    """The fields of `SamplingSettings` as keywords of a call."""

    guidance_scale: float | Sequence[float]
    guidance_schedule: str
    guidance_interval: Sequence[int | None]
    temperature: float | Sequence[float]
    top_k: int | Sequence[int]
    top_p: float | Sequence[float]
    min_p: float | Sequence[float]
    smooth: bool | Sequence[bool]
    spatial_guidance: float | Sequence[float]


def _each(values: Any) -> tuple[Any, ...]:
    """A setting at every scale that it names."""
    return values if isinstance(values, tuple) else (values,)
