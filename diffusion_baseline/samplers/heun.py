"""Heun's method on the probability-flow ODE (Karras et al. 2022, arXiv 2206.00364, Algorithm 1)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from diffusion_baseline.samplers.ddim import ddim_step
from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps

MOST_NOISE = 200.0
"""Noise over signal from which a step is of first order: the slope turns near its end, the mean of both is worse."""


def called_at(timesteps: Sequence[int]) -> list[int]:
    """Calls of the denoiser at most: at both ends of each step but the last; nearly pure noise at first saves one."""
    return [*timesteps[:1], *(t for t in timesteps[1:] for _ in range(2))]


def heun_step(
    x: Images, found: Images | Estimate, t: int, schedule: NoiseLevels, denoise: Denoiser, *, previous: int
) -> tuple[Images, Tensor]:
    """Return x_previous by the mean of the slopes of `sample_euler` at both ends, and a variance of 0.

    The first slope alone is taken into the clean image, where the other is not defined, and out of nearly pure noise.
    """
    estimate = schedule.estimate(found, x, t)
    ahead, variance = ddim_step(x, estimate, t, schedule, previous=previous)
    (scale, time), (scale_before, time_before) = _coordinates(t, schedule), _coordinates(previous, schedule)
    if previous < 0 or time > MOST_NOISE:
        return ahead, variance
    timesteps = torch.full((len(x),), previous, device=x.device)
    other = schedule.estimate(denoise(ahead, timesteps), ahead, previous)
    slope = (_slope(estimate, schedule) + _slope(other, schedule)) / 2
    return scale_before * (x / scale + (time_before - time) * slope), variance


def _coordinates(t: int, schedule: NoiseLevels) -> tuple[float, float]:
    """What x is divided by, and the time that then goes by."""
    signal, noise = (level.item() for level in schedule.levels(t))
    return (1.0, noise) if schedule.straight else (signal, noise / signal if signal else torch.inf)


def _slope(estimate: Estimate, schedule: NoiseLevels) -> Tensor:
    return estimate.noise - estimate.image if schedule.straight else estimate.noise


def sample_heun(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int = 10,
    spacing: Spacing = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Follow the ODE of `sample_euler` in second order, the last step in first; `generator` is not used."""
    step = partial(heun_step, schedule=schedule, denoise=denoise)
    return take_steps(step, denoise, noise, schedule, steps, spacing, generator, on_step)
