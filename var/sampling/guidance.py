"""How far a call is pulled towards what it asks for, said by one object in both paradigms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from var import checks
from var.errors import UserError, chosen
from var.names import received
from var.sampling.numbers import check_guidance, plain

SCHEDULES = ("linear", "constant")

_TAKEN: dict[str, Any] = {
    "scale": float | tuple[float, ...] | None,
    "schedule": str | None,
    "start": int | float | None,
    "stop": int | float | None,
    "classifier_scale": float | None,
}
"""What the numbers and words of `Guidance` must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """Guidance: null + scale (cond - null), so that 1 means off; what is None is as the keywords of the call say.

    Where images grow by scales, `start` and `stop` are scales: it is on from `start` up to but without `stop`, and from
    there on the null half is not computed; before `start` it is, because what it remembers is needed later. Where they
    come out of noise, both are noise levels in [0, 1]: it is on above `start` and up to `stop` (Kynkaanniemi et al.
    2024, arXiv 2404.07724), and elsewhere the null half is not computed. The `schedule` "linear" goes from 1 at the
    first scale, or in pure noise, to `scale`; "constant" does not.
    `weaker` is a pipeline of the same kind, of fewer parameters or trained less, whose prediction stands in for the
    null (autoguidance; Karras et al. 2024, arXiv 2406.02507). `classifier` is a network that tells the classes of noisy
    images: `classifier_scale` times the gradient of its log p(class | x_t) is added to the score, where guidance is on
    (Dhariwal & Nichol 2021, arXiv 2105.05233, Section 4).

    Raises `UserError` for impossible numbers; a pipeline does for what does not fit it.
    """

    scale: float | Sequence[float] | None = None
    schedule: str | None = None
    start: float | None = None
    stop: float | None = None
    weaker: Any = None
    classifier: Any = None
    classifier_scale: float | None = None

    def __post_init__(self) -> None:
        for name, hint in _TAKEN.items():
            object.__setattr__(self, name, checks.argument(name, plain(getattr(self, name), name), hint))
        if self.schedule is not None:
            chosen(self.schedule, dict.fromkeys(SCHEDULES), "schedule of guidance")
        if self.scale is not None:
            check_guidance(self.scale)
        if self.stop is not None and not (self.start or 0) < self.stop:
            raise UserError(
                f"guidance must start below its stop, got {self.start or 0} and {self.stop}; scale=1 turns it off"
            )

    def joined(self, keywords: Mapping[str, Any], end: float | None) -> dict[str, Any]:
        """The `keywords` of a call and those that this object stands for; `end` is the last place where it is on.

        Raises `UserError` where both say something, and not the same.
        """
        said: dict[str, Any] = {
            "guidance_scale": self.scale,
            "guidance_schedule": self.schedule,
            "classifier_scale": self.classifier_scale,
        }
        if (self.start, self.stop) != (None, None):
            said["guidance_interval"] = (self.start or 0, end if self.stop is None else self.stop)
        said = {name: value for name, value in said.items() if value is not None}
        for name in said.keys() & keywords.keys():
            given = plain(keywords[name], name)
            if (tuple(given) if isinstance(given, list) else given) != said[name]:
                raise UserError(
                    f"guidance says {name} = {received(said[name])}, got {received(given)} beside it; leave one out"
                )
        return {**keywords, **said}


def ramped(scale: float, schedule: str, part: float, whole: float) -> float:
    """The guidance scale when `part` of the `whole` way is gone: "constant", or "linear" from 1 to `scale`."""
    return float(scale) if schedule == "constant" else 1 + (scale - 1) * part / whole


def check_same(name: str, has: Mapping[str, Any], beside: Mapping[str, Any], other: str = "what it guides") -> None:
    """Raise `UserError` for a model called `name` that has something else than the `other`; None is not known."""
    for fact, wanted in beside.items():
        found = has.get(fact)
        if found != wanted and None not in (found, wanted):
            raise UserError(
                f"{name} must have the same {fact} as {other}, {received(wanted)}, got {received(found)}; take another"
            )
