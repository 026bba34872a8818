"""The walk from noise to images that samplers share: timesteps, fresh noise, one step after the other."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import torch
from torch import Generator, Tensor

from diffusion_baseline.schedules import Denoiser, Images, NoiseLevels
from diffusion_baseline.spacings import SPACINGS
from var.errors import UserError, chosen
from var.names import received
from var.sampling.finite import check_finite

logger = logging.getLogger(__name__)

Generators = Generator | Sequence[Generator]  # one for the batch, or one per sample
OnStep = Callable[[int, int, Tensor], None]  # (step index, timestep, x after the step)
Step = Callable[..., tuple[Tensor, Tensor]]  # (x, eps or estimate, t, previous=an earlier t) -> (mean, variance)


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk that is no plain descent: the timesteps it visits, -1 for the clean image, and what is done at each.

    Where a timestep is above the one before, x is noised up to it (Lugmayr et al. 2022, Section 4.2).
    """

    timesteps: Sequence[int]
    arrived: Callable[[Tensor, int], Tensor]  # (x, its timestep) -> the x to go on with


Spacing = str | Walk
"""Which timesteps are visited: by the name of a rule, or one by one."""


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


def timestep_pairs(steps: int, num_timesteps: int, spacing: str = "trailing") -> list[tuple[int, int]]:
    """Return the (t, previous t) of each step, as the `spacing` has them; -1 stands for the clean image.

    Raises `UserError` for an unknown spacing, and for steps that are no whole number from 1 to T.
    """
    timesteps_of = chosen(spacing, SPACINGS, "spacing")
    if isinstance(steps, bool) or not isinstance(steps, Integral) or not 1 <= steps <= num_timesteps:
        raise UserError(
            f"sampling takes 1 to {num_timesteps} steps with this schedule, got {received(steps)}; change the steps"
        )
    timesteps = timesteps_of(int(steps), num_timesteps)
    if num_timesteps - timesteps[0] > 2 * (num_timesteps // steps):
        logger.warning(
            "%d steps of %s spacing begin at t = %d of %d, where images are no pure noise any more: they come out "
            'wrong; use spacing="trailing"',
            steps,
            spacing,
            timesteps[0],
            num_timesteps,
        )
    return list(pairwise([*timesteps, -1]))


def take_steps(
    step: Step,
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    steps: int,
    spacing: Spacing,
    generator: Generators | None,
    on_step: OnStep | None,
) -> Images:
    """Go from `noise` to the clean image in so many `steps`, by the mean and the variance of each `step`.

    A `Walk` knows its steps itself. Raises `UserError` where NaN or infinity come out.
    """
    if isinstance(spacing, Walk):
        pairs, arrived = pairwise(spacing.timesteps), spacing.arrived
    else:
        pairs, arrived = timestep_pairs(steps, schedule.num_timesteps, spacing), None
    if generator is None:
        generator = Generator()
        generator.seed()  # fresh entropy; the global generator is not touched
    x = noise
    for index, (t, previous) in enumerate(pairs):
        if previous > t:
            ratio, variance = schedule.transition(t, previous)
            x = ratio.item() * x
        else:
            timesteps = torch.full((len(x),), t, device=x.device)
            x, variance = step(x, denoise(x, timesteps), t, previous=previous)
        if variance > 0:  # on the CPU, as the schedule is: no wait for the device
            x = x + float(variance) ** 0.5 * normal(x.shape, generator, x)
        if arrived is not None:
            x = arrived(x, previous)
        if on_step is not None:
            on_step(index, t, x)
    check_finite(x, "sampling needs finite images", "look at what predicts the noise")
    return x
