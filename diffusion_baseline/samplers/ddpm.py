"""Ancestral sampling (Ho et al. 2020)."""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from diffusion_baseline.samplers.ddim import ddim_step
from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels, Timesteps
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps


def ddpm_step(
    x: Images, eps: Images | Estimate, t: Timesteps, schedule: NoiseLevels, *, previous: Timesteps | None = None
) -> tuple[Images, Float[Tensor, "..."]]:
    """Return mean and (small) variance of q(x_previous | x_t, x_0) at the predicted x_0 (Ho et al. 2020, Eq. 7).

    `previous` is t - 1 unless steps are left out; -1 is the clean image. The variance is 0 where that is reached.
    """
    # The ancestral step is DDIM's at eta 1 (Song et al. 2021, Section 4.1).
    return ddim_step(x, eps, t, schedule, previous=previous, eta=1.0)


def sample_ddpm(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int | None = None,
    spacing: Spacing = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Ancestral sampling from standard normal `noise` (Ho et al. 2020, Algorithm 2); `steps` None is all T of them.

    `spacing` says which timesteps fewer `steps` visit; see `diffusion_baseline.spacings`.
    """
    step = partial(ddpm_step, schedule=schedule)
    steps = schedule.num_timesteps if steps is None else steps
    return take_steps(step, denoise, noise, schedule, steps, spacing, generator, on_step)
