"""DDIM (Song et al. 2021)."""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels, Timesteps, broadcast
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps
from var.errors import UserError


def ddim_step(
    x: Images,
    eps: Images | Estimate,
    t: Timesteps,
    schedule: NoiseLevels,
    *,
    previous: Timesteps | None = None,
    eta: float = 0.0,
) -> tuple[Images, Float[Tensor, "..."]]:
    """Return mean and variance of the step from x_t to x_previous (Song et al. 2021, Eq. 12 and 16); eta 0 has none."""
    image, noise = schedule.estimate(eps, x, t)
    previous = t - 1 if previous is None else previous
    (_, spread), (signal_before, spread_before) = schedule.levels(t), schedule.levels(previous)
    _, added = schedule.transition(previous, t)
    variance = eta**2 * (spread_before / spread) ** 2 * added
    renoise = (spread_before**2 - variance).clamp(min=0).sqrt()
    if not spread.ndim:  # one timestep for all: numbers, which take on any dtype and device
        return signal_before.item() * image + renoise.item() * noise, variance
    signal_before, renoise, variance = (broadcast(each, x).to(x) for each in (signal_before, renoise, variance))
    return signal_before * image + renoise * noise, variance


def sample_ddim(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int = 50,
    eta: float = 0.0,
    spacing: Spacing = "trailing",
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
