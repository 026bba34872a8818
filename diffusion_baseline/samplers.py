"""From noise to images: every sampler is called as `sample(denoise, noise, schedule, *, steps, generator, on_step)`.

The denoiser returns eps. Guidance, prediction kinds and clipping are wrapped into it by the caller.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from diffusion_baseline.schedules import Denoiser, NoiseSchedule, broadcast
from var.errors import UserError

Generators = Generator | Sequence[Generator] | None  # one for the batch, one a sample, or None: a fresh random seed
OnStep = Callable[[int, int, Tensor], None]  # (step index, timestep, x after the step)
Step = Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]  # (x, eps, t, previous t) -> (mean, variance)


def normal(shape: Sequence[int], generator: Generators, like: Tensor) -> Tensor:
    """Draw standard normal numbers of `shape`, in the dtype and on the device of `like`.

    With one generator a sample, each sample's numbers depend on its own generator only, not on the batch.
    """
    if generator is None:
        generator = Generator()
        generator.seed()  # fresh entropy; the global generator is not touched
    if isinstance(generator, Generator):
        return torch.randn(*shape, generator=generator, device=generator.device, dtype=like.dtype).to(like.device)
    if len(generator) != shape[0]:
        raise UserError(f"one generator a sample is needed, got {len(generator)} for {shape[0]} samples; give as many")
    return torch.cat([normal((1, *shape[1:]), one, like) for one in generator])


def ddpm_step(
    x: Float[Tensor, "batch *shape"],
    eps: Float[Tensor, "batch *shape"],
    t: int | Int[Tensor, ""] | Int[Tensor, " batch"],
    schedule: NoiseSchedule,
    *,
    previous: int | Int[Tensor, ""] | Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch *shape"], Float[Tensor, "..."]]:
    """Return mean and (small) variance of q(x_previous | x_t, x_0) at the predicted x_0 (Ho et al. 2020, Eq. 7).

    `previous` is t - 1 unless steps are left out; -1 is the clean image. The variance is 0 where that is reached.
    """
    # The ancestral step is DDIM's at eta 1 (Song et al. 2021, Section 4.1).
    return ddim_step(x, eps, t, schedule, previous=previous, eta=1.0)


def ddim_step(
    x: Float[Tensor, "batch *shape"],
    eps: Float[Tensor, "batch *shape"],
    t: int | Int[Tensor, ""] | Int[Tensor, " batch"],
    schedule: NoiseSchedule,
    *,
    previous: int | Int[Tensor, ""] | Int[Tensor, " batch"] | None = None,
    eta: float = 0.0,
) -> tuple[Float[Tensor, "batch *shape"], Float[Tensor, "..."]]:
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


def sample_ddpm(
    denoise: Denoiser,
    noise: Float[Tensor, "batch *shape"],
    schedule: NoiseSchedule,
    *,
    steps: int | None = None,
    generator: Generators = None,
    on_step: OnStep | None = None,
) -> Float[Tensor, "batch *shape"]:
    """Ancestral sampling from standard normal `noise` (Ho et al. 2020, Algorithm 2); `steps` None is all T of them."""

    def step(x: Tensor, eps: Tensor, t: int, previous: int) -> tuple[Tensor, Tensor]:
        return ddpm_step(x, eps, t, schedule, previous=previous)

    steps = schedule.num_timesteps if steps is None else steps
    return _sample(step, denoise, noise, schedule, steps, generator, on_step)


def sample_ddim(
    denoise: Denoiser,
    noise: Float[Tensor, "batch *shape"],
    schedule: NoiseSchedule,
    *,
    steps: int = 50,
    eta: float = 0.0,
    generator: Generators = None,
    on_step: OnStep | None = None,
) -> Float[Tensor, "batch *shape"]:
    """Sample with DDIM (Song et al. 2021): deterministic at eta 0 (no use of `generator`), ancestral at eta 1."""
    if not 0 <= eta <= 1:
        raise UserError(f"eta must be between 0 (deterministic) and 1 (ancestral), got {eta}; change eta")

    def step(x: Tensor, eps: Tensor, t: int, previous: int) -> tuple[Tensor, Tensor]:
        return ddim_step(x, eps, t, schedule, previous=previous, eta=eta)

    return _sample(step, denoise, noise, schedule, steps, generator, on_step)


def timestep_pairs(steps: int, num_timesteps: int) -> list[tuple[int, int]]:
    """Return the (t, previous t) of each step: t = i * (T // steps), i descending; -1 stands for the clean image."""
    if not 1 <= steps <= num_timesteps:
        raise UserError(f"sampling takes 1 to {num_timesteps} steps with this schedule, got {steps}; change the steps")
    timesteps = [i * (num_timesteps // steps) for i in reversed(range(steps))]
    return list(zip(timesteps, [*timesteps[1:], -1], strict=True))


def _sample(
    step: Step,
    denoise: Denoiser,
    noise: Float[Tensor, "batch *shape"],
    schedule: NoiseSchedule,
    steps: int,
    generator: Generators,
    on_step: OnStep | None,
) -> Float[Tensor, "batch *shape"]:
    if generator is None:
        generator = Generator()
        generator.seed()
    x = noise
    for index, (t, previous) in enumerate(timestep_pairs(steps, schedule.num_timesteps)):
        timesteps = torch.full((len(x),), t, device=x.device)
        x, variance = step(x, denoise(x, timesteps), t, previous)
        if variance > 0:  # on the CPU, as the schedule is: no wait for the device
            x = x + float(variance) ** 0.5 * normal(x.shape, generator, x)
        if on_step is not None:
            on_step(index, t, x)
    return x
