"""The walk from noise to images that samplers share: timesteps, fresh noise, one step after the other."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor

from diffusion_baseline.schedules import Denoiser, Images, NoiseSchedule
from var.errors import UserError

Generators = Generator | Sequence[Generator]  # one for the batch, or one per sample
OnStep = Callable[[int, int, Tensor], None]  # (step index, timestep, x after the step)
Step = Callable[..., tuple[Tensor, Tensor]]  # (x, eps, t, previous=an earlier t) -> (mean, variance)


def normal(shape: Sequence[int], generator: Generators, like: Tensor) -> Tensor:
    """Draw standard normal numbers of `shape`, in the dtype and on the device of `like`.

    With one generator per sample, each sample's numbers depend on its own generator only, not on the batch.
    """
    if isinstance(generator, Generator):
        return torch.randn(*shape, generator=generator, device=generator.device, dtype=like.dtype).to(like.device)
    if len(generator) != shape[0]:
        raise UserError(
            f"one generator per sample is needed, got {len(generator)} for {shape[0]} samples; give as many"
        )
    return torch.cat([normal((1, *shape[1:]), one, like) for one in generator])


def timestep_pairs(steps: int, num_timesteps: int) -> list[tuple[int, int]]:
    """Return the (t, previous t) of each step: t = i * (T // steps), i descending; -1 stands for the clean image."""
    if not 1 <= steps <= num_timesteps:
        raise UserError(f"sampling takes 1 to {num_timesteps} steps with this schedule, got {steps}; change the steps")
    timesteps = [i * (num_timesteps // steps) for i in reversed(range(steps))]
    return list(pairwise([*timesteps, -1]))


def take_steps(
    step: Step,
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseSchedule,
    steps: int,
    generator: Generators | None,
    on_step: OnStep | None,
) -> Images:
    """Go from `noise` to the clean image in so many `steps`, by the mean and the variance of each `step`."""
    if generator is None:
        generator = Generator()
        generator.seed()  # fresh entropy; the global generator is not touched
    x = noise
    for index, (t, previous) in enumerate(timestep_pairs(steps, schedule.num_timesteps)):
        timesteps = torch.full((len(x),), t, device=x.device)
        x, variance = step(x, denoise(x, timesteps), t, previous=previous)
        if variance > 0:  # on the CPU, as the schedule is: no wait for the device
            x = x + float(variance) ** 0.5 * normal(x.shape, generator, x)
        if on_step is not None:
            on_step(index, t, x)
    return x
