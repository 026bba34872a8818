"""Euler's method on the probability-flow ODE (Song et al. 2021, arXiv 2011.13456; Karras et al. 2022)."""

from functools import partial

from diffusion_baseline.samplers.ddim import ddim_step
from diffusion_baseline.schedules import Denoiser, Images, NoiseLevels
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps


def sample_euler(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int = 20,
    spacing: Spacing = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Follow d(x / signal) / d(noise / signal) = eps, or on a straight path dx / ds = eps - x_0, in first order.

    Both are the step of DDIM without randomness (Song et al. 2021, arXiv 2010.02502, Eq. 14); `generator` is not used.
    """
    step = partial(ddim_step, schedule=schedule)
    return take_steps(step, denoise, noise, schedule, steps, spacing, generator, on_step)
