"""The exponential two-step method of Adams and Bashforth, over the signal's share of the variance."""

import math

import torch
from torch import Tensor

from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps


class TwoStep:
    """The step from x_t to x_previous by a line through the image predicted at t and the one before it.

    The ODE is d(x_t / noise) = x_0 d(signal / noise) (Lu et al. 2022, arXiv 2211.01095, Proposition 4.1). DPM-Solver++
    takes x_0 for linear in log-SNR, which has no ends; here it is linear in the share signal^2 / (signal^2 + noise^2),
    0 in pure noise and 1 in the clean image, so that the last step is one like all others. With the angle p of
    tan p = noise / signal, the share is cos^2 p, and its integral over d(cot p) is cot p + p.
    """

    def __init__(self, schedule: NoiseLevels) -> None:
        self.schedule = schedule
        self.image: Tensor | None = None  # predicted in the step before
        self.share = 0.0  # of the signal there
        self.arrived: int | None = None  # where that step led

    def __call__(self, x: Images, found: Images | Estimate, t: int, *, previous: int) -> tuple[Images, Tensor]:
        """Return x_previous, and a variance of 0."""
        image = self.schedule.estimate(found, x, t).image
        (signal, noise), (signal_before, noise_before) = (
            [level.item() for level in self.schedule.levels(each)] for each in (t, previous)
        )
        share = signal**2 / (signal**2 + noise**2)
        weight = signal_before - noise_before / noise * signal
        mean = noise_before / noise * x + weight * image
        if self.image is not None and self.arrived == t:
            turn = math.atan2(noise, signal) - math.atan2(noise_before, signal_before)
            slope = (image - self.image) / (share - self.share)
            mean = mean + (weight * (1 - share) - noise_before * turn) * slope
        self.image, self.share, self.arrived = image, share, previous
        return mean, torch.zeros(())


def sample_expab(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int = 8,
    spacing: Spacing = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Follow the ODE of `sample_dpmpp` in second order, the last step included; `generator` is not used."""
    return take_steps(TwoStep(schedule), denoise, noise, schedule, steps, spacing, generator, on_step)
