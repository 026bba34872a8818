"""Classifier-free guidance over the scales."""

from collections.abc import Sequence

from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings


def guidance_scales(settings: SamplingSettings, scales: int) -> list[float]:
    """Guidance scale of every scale: `constant`, or `linear` from 1 as 1 + (gamma - 1) k / (K - 1); or as listed.

    1 means off. The official `cfg=c` is `1 + c` with the linear schedule. Raises `UserError` for a list of another
    length than the number of scales.
    """
    scale = settings.guidance_scale
    if isinstance(scale, Sequence):
        if len(scale) != scales:
            raise UserError(
                f"a list of guidance scales needs one for each of {scales} scales, got {len(scale)}; give {scales}"
            )
        return list(scale)
    if settings.guidance_schedule == "constant":
        return [float(scale)] * scales
    return [1 + (scale - 1) * k / max(scales - 1, 1) for k in range(scales)]
