"""DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, Algorithm 2)."""

import math

import torch
from torch import Tensor

from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps


class Multistep:
    """The step from x_t to x_previous, in second order once there is an image predicted before."""

    def __init__(self, schedule: NoiseLevels) -> None:
        self.schedule = schedule
        self.image: Tensor | None = None  # predicted in the step before
        self.arrived: int | None = None  # where that step led
        self.length = 0.0  # of the step before, in log-SNR / 2

    def __call__(self, x: Images, found: Images | Estimate, t: int, *, previous: int) -> tuple[Images, Tensor]:
        """Return x_previous, and a variance of 0; the clean image is reached in first order."""
        image = self.schedule.estimate(found, x, t).image
        (signal, noise), (signal_before, noise_before) = (
            [level.item() for level in self.schedule.levels(each)] for each in (t, previous)
        )
        if not noise_before:
            return image, torch.zeros(())
        length = math.inf if not signal else math.log(signal_before / noise_before) - math.log(signal / noise)
        direction = image
        if self.image is not None and self.arrived == t:
            direction = torch.lerp(self.image, image, 1 + length / self.length / 2)  # D_i with r_i = h_{i-1} / h_i
        self.image, self.length, self.arrived = image, length, previous
        # Eq. 9 with D_i for the image: what is left out is of third order in the step.
        x = noise_before / noise * x - signal_before * math.expm1(-length) * direction
        return x, torch.zeros(())


def sample_dpmpp(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int = 10,
    spacing: Spacing = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Solve the probability-flow ODE in log-SNR by predicted images, in second order; `generator` is not used."""
    return take_steps(Multistep(schedule), denoise, noise, schedule, steps, spacing, generator, on_step)
