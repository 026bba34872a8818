"""DDIM (Song et al. 2021)."""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from diffusion_baseline.schedules import Denoiser, Images, NoiseSchedule, Timesteps, broadcast
from diffusion_baseline.stepping import Generators, OnStep, take_steps
from var.errors import UserError


def ddim_step(
    x: Images,
    eps: Images,
    t: Timesteps,
    schedule: NoiseSchedule,
    *,
    previous: Timesteps | None = None,
    eta: float = 0.0,
) -> tuple[Images, Float[Tensor, "..."]]:
    """Return mean and variance of the step from x_t to x_previous (Song et al. 2021, Eq. 12 and 16); eta 0 has none."""
    now = schedule.alpha_bar(t)
    before = schedule.alpha_bar(t - 1 if previous is None else previous)
    variance = eta**2 * (1 - before) / (1 - now) * (1 - now / before)
    # x_previous = sqrt(before) x_0 + sqrt(1 - before - variance) eps, with x_0 = (x - sqrt(1 - now) eps) / sqrt(now)
    keep = (before / now).sqrt()
    renoise = (1 - before - variance).clamp(min=0).sqrt() - keep * (1 - now).sqrt()
    if not now.ndim:  # one timestep for all: numbers, which take on any dtype and device
        return keep.item() * x + renoise.item() * eps, variance
    keep, renoise, variance = (broadcast(each, x).to(x) for each in (keep, renoise, variance))
    return keep * x + renoise * eps, variance


def sample_ddim(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseSchedule,
    *,
    steps: int = 50,
    eta: float = 0.0,
    spacing: str = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Sample with DDIM (Song et al. 2021): deterministic at eta 0 (no use of `generator`), ancestral at eta 1.

    `spacing` says which timesteps the `steps` visit; see `diffusion_baseline.spacings`.
    """
    if not 0 <= eta <= 1:
        raise UserError(f"eta must be between 0 (deterministic) and 1 (ancestral), got {eta}; change eta")
    step = partial(ddim_step, schedule=schedule, eta=eta)
    return take_steps(step, denoise, noise, schedule, steps, spacing, generator, on_step)
