"""The forward process, what a network may predict about it, and the training loss."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels, NoiseSchedule, Timesteps

# The noise, the velocity of Salimans & Ho 2022, the clean image, or the velocity eps - x_0 of flow matching.
Prediction = Literal["eps", "v", "x0", "flow"]
PREDICTIONS: dict[str, Prediction] = {"eps": "eps", "v": "v", "x0": "x0", "flow": "flow"}


def add_noise(images: Images, noise: Images, timesteps: Timesteps, schedule: NoiseLevels) -> Images:
    """Draw x_t ~ q(x_t | x_0) in one jump from standard normal `noise` (Ho et al. 2020, Eq. 4)."""
    alpha, sigma = schedule.signal_and_noise(timesteps, images)
    return alpha * images + sigma * noise


def training_target(
    images: Images, noise: Images, timesteps: Timesteps, schedule: NoiseLevels, prediction: Prediction
) -> Images:
    """What a perfect network of that kind of prediction would return at x_t."""
    if prediction == "eps":
        return noise
    if prediction == "x0":
        return images
    if prediction == "flow":
        return noise - images  # Lipman et al. 2023, Eq. 23; Liu et al. 2023, Eq. 1
    # Salimans & Ho 2022, Section 4: the v-target has unit variance at every noise level.
    alpha, sigma = schedule.signal_and_noise(timesteps, images)
    return alpha * noise - sigma * images


def image_and_noise(
    output: Images, x: Images, timesteps: Timesteps, schedule: NoiseLevels, prediction: Prediction
) -> Estimate:
    """Return the (x_0, eps), with x = alpha x_0 + sigma eps, that a network's `output` at x_t = `x` stands for."""
    if prediction == "eps":
        return schedule.estimate(output, x, timesteps)
    alpha, sigma = schedule.signal_and_noise(timesteps, x)
    if prediction == "x0":
        return Estimate(output, (x - alpha * output) / sigma)
    if prediction == "flow":
        total = alpha + sigma  # 1 on a straight path
        return Estimate((x - sigma * output) / total, (x + alpha * output) / total)
    return Estimate(alpha * x - sigma * output, sigma * x + alpha * output)


def simplified_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    images: Images,
    noise: Images,
    timesteps: Int[Tensor, " batch"],
    schedule: NoiseLevels,
    prediction: Prediction,
) -> Float[Tensor, " batch"]:
    """Mean squared error of each sample's prediction, all timesteps weighted alike (Ho et al. 2020, Eq. 14)."""
    output = predict(add_noise(images, noise, timesteps, schedule), timesteps)
    target = training_target(images, noise, timesteps, schedule, prediction)
    return F.mse_loss(output.float(), target.float(), reduction="none").flatten(1).mean(1)


@torch.no_grad()
def variational_bound(
    denoise: Denoiser, images: Images, schedule: NoiseSchedule, *, generator: torch.Generator, levels: int = 256
) -> Float[Tensor, " batch"]:
    """Return an upper bound on each image's negative log2-likelihood, in bits per value (Ho et al. 2020, Eq. 5 and 13).

    `denoise` is called once per timestep, with noise from `generator`; the reverse process is that of
    `ddpm_step`. Values are `levels` evenly spaced ones from -1 to 1.
    """
    alpha_bar, betas = schedule.alphas_cumprod, schedule.betas
    before = schedule.alpha_bar(torch.arange(-1, schedule.num_timesteps - 1))
    variance = (1 - before) / (1 - alpha_bar) * betas  # of the posterior; 0 at t = 0
    weights = betas**2 / (2 * variance * (1 - betas) * (1 - alpha_bar))  # Eq. 12
    last = alpha_bar[-1].item()
    nats = 0.5 * (last * images**2 - last - math.log1p(-last))  # L_T: from q(x_T | x_0) to the standard normal
    for t in range(schedule.num_timesteps):
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=generator.device)
        noise = noise.to(images.device)
        x = add_noise(images, noise, t, schedule)
        image, eps = schedule.estimate(denoise(x, torch.full((len(x),), t, device=x.device)), x, t)
        if t > 0:
            nats = nats + weights[t].item() * (eps - noise) ** 2
        else:
            # The decoder has no variance of its own at t = 0; as in Ho et al.'s code, that of t = 1 stands in.
            deviation = variance[min(1, schedule.num_timesteps - 1)].sqrt().item()
            nats = nats - _log_probability(images, image, deviation, levels)
    return nats.flatten(1).mean(1) / math.log(2)


def _log_probability(values: Tensor, mean: Tensor, deviation: float, levels: int) -> Tensor:
    """Log-mass of a normal distribution on each value's bin; the outermost bins reach to infinity (Eq. 13)."""
    half = 1 / (levels - 1)
    above, below = ((values - mean + offset) / deviation for offset in (half, -half))
    above = above.masked_fill(values > 1 - half, math.inf)
    below = below.masked_fill(values < half - 1, -math.inf)
    # On the right-hand side both are mirrored, so that small masses are not differences of numbers near 1.
    above, below = torch.where(below > 0, -below, above), torch.where(below > 0, -above, below)
    return (torch.special.ndtr(above) - torch.special.ndtr(below)).clamp(min=1e-30).log()
