"""Classifier-free guidance (Ho & Salimans 2022): null + scale (cond - null), so that a scale of 1 means off."""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from var import conditions
from var.conditions import Condition

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(x_t, timesteps (batch,)) -> any kind of prediction in the shape of x_t."""


def guided(cond: Predictor, null: Predictor, scale: float) -> Predictor:
    """Wrap a conditional and an unconditional predictor into a guided one; scale 1 is exactly `cond`, 0 `null`."""
    if scale == 1:
        return cond
    if scale == 0:
        return null
    return lambda x, t: torch.lerp(null(x, t), cond(x, t), scale)


def guided_in_one_call(
    predict: Callable[[Tensor, Tensor, Condition], Tensor], condition: Condition, scale: float
) -> Predictor:
    """Guide a network `predict(x, t, condition)` as `guided` does, in one call of twice the batch."""
    if scale in (0, 1):
        null = condition.null()
        return guided(lambda x, t: predict(x, t, condition), lambda x, t: predict(x, t, null), scale)
    both = condition.with_null()

    def denoise(x: Float[Tensor, "batch *shape"], t: Int[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        return conditions.guided(predict(torch.cat([x, x]), torch.cat([t, t]), both), scale)

    return denoise


def guided_by_step(scale_of: Callable[[int], float], guided_by: Callable[[float], Predictor]) -> Predictor:
    """Guide each step by the scale of its timestep, which is the same for the whole batch.

    On other devices than a CPU a step then waits for the one before, to read its timestep.
    """
    guided_by = lru_cache(maxsize=2)(guided_by)  # most often one scale in the interval, and 1 outside
    return lambda x, t: guided_by(scale_of(int(t[0])))(x, t)
