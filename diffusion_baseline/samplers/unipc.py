"""UniPC of order 2 (Zhao et al. 2023, arXiv 2302.04867) for predicted images."""

import math

from torch import Tensor

from diffusion_baseline.samplers.dpmpp import Multistep
from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels
from diffusion_baseline.stepping import Generators, OnStep, Spacing, take_steps


class PredictorCorrector(Multistep):
    """The step of DPM-Solver++(2M), which is UniP-2 with B_2(h), from an x_t that UniC-2 corrects first.

    Both use the image predicted at the x_t before correction, so that a step is one call of the denoiser.
    """

    def __init__(self, schedule: NoiseLevels) -> None:
        super().__init__(schedule)
        self.reached: Tensor | None = None  # by the step before
        self.kept: Tensor | float = 0.0  # what that step left of the x before
        self.earlier: tuple[Tensor, float] | None = None  # image and length of the step before that one

    def __call__(self, x: Images, found: Images | Estimate, t: int, *, previous: int) -> tuple[Images, Tensor]:
        """Return x_previous, and a variance of 0; an x that was changed on the way is taken as it is."""
        estimate = self.schedule.estimate(found, x, t)
        (signal, noise), (_, noise_before) = (
            [level.item() for level in self.schedule.levels(each)] for each in (t, previous)
        )
        if x is self.reached and self.image is not None:
            x = self.kept + signal * self._mean(estimate.image, self.image)
        self.earlier = (self.image, self.length) if self.image is not None and self.arrived == t else None
        self.kept = noise_before / noise * x
        self.reached, variance = super().__call__(x, estimate, t, previous=previous)
        return self.reached, variance

    def _mean(self, here: Tensor, before: Tensor) -> Tensor:
        """The mean of e^lambda x_0 over the step before, by a polynomial of lambda, the log-SNR / 2.

        Eq. 3 with D_i for the image, where the a_i solve R(h) a B(h) = phi(h): B(h) drops out. The polynomial goes
        through the images predicted at both ends and, but for the first step, through the one before them.
        """
        h = self.length
        zeroth = -math.expm1(-h)  # integrals of e^(lambda - h) (lambda / h)^k from 0 to h
        first = 1 - zeroth / h
        second = 1 - 2 * first / h
        change = here - before
        mean = zeroth * before + first * change
        if self.earlier is None:
            return mean
        earlier, ratio = self.earlier[0], self.earlier[1] / h
        bend = (change - (before - earlier) / ratio) / (1 + ratio)
        return mean + (second - first) * bend


def sample_unipc(
    denoise: Denoiser,
    noise: Images,
    schedule: NoiseLevels,
    *,
    steps: int = 8,
    spacing: Spacing = "trailing",
    generator: Generators | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """Follow the ODE of `sample_dpmpp`, each step corrected by what is predicted at its end; `generator` is not used.

    The clean image is reached in first order.
    """
    return take_steps(PredictorCorrector(schedule), denoise, noise, schedule, steps, spacing, generator, on_step)
