"""How much the error at each noise level counts in training, and how often each is drawn."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from diffusion_baseline.diffusion import Prediction, training_target
from diffusion_baseline.schedules import NoiseLevels

Errors = Float[Tensor, " batch"]

LOSS_WEIGHTS: dict[str, Callable[[Errors, Errors, Tensor], Errors]] = {
    "uniform": lambda errors, of_images, snr: errors,
    "min-snr": lambda errors, of_images, snr: snr.clamp(max=5) * of_images,  # Hang et al. 2023, Eq. 7
    "p2": lambda errors, of_images, snr: snr / (1 + snr) * of_images,  # Choi et al. 2022, Eq. 8; k = gamma = 1
    "adaptive": lambda errors, of_images, snr: errors / (errors.detach() + 1e-3),  # Geng et al. 2025, Eq. 22; p = 1
}
"""(squared errors of what is predicted, those of the image that it means, signal-to-noise ratios) -> losses."""


def _uniform(count: int, num_timesteps: int, generator: Generator) -> Tensor:
    return torch.randint(num_timesteps, (count,), generator=generator, device=generator.device)


def _logit_normal(count: int, num_timesteps: int, generator: Generator) -> Tensor:
    """The middle more often (Esser et al. 2024, Eq. 19)."""
    share = torch.randn(count, generator=generator, device=generator.device).sigmoid()
    return (share * num_timesteps).long().clamp(max=num_timesteps - 1)


DENSITIES: dict[str, Callable[[int, int, Generator], Int[Tensor, " count"]]] = {
    "uniform": _uniform,
    "logit-normal": _logit_normal,
}
"""(how many, T, generator) -> timesteps that are trained on."""


def weighted(
    name: str, errors: Errors, timesteps: Int[Tensor, " batch"], schedule: NoiseLevels, prediction: Prediction
) -> Errors:
    """The squared `errors` of a kind of prediction, weighted as `LOSS_WEIGHTS` say."""
    signal, noise = schedule.signal_and_noise(timesteps, errors)
    # At a given x_t, an image that is off by 1 means a noise that is off by this, and a prediction by `change`.
    change = training_target(torch.ones_like(signal), -signal / noise, timesteps, schedule, prediction)
    return LOSS_WEIGHTS[name](errors, errors / change**2, (signal / noise) ** 2)
