"""The forward process, what a network may predict about it, and the training loss."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from diffusion_baseline.schedules import Denoiser, Estimate, Images, NoiseLevels, Timesteps, broadcast
from diffusion_baseline.stepping import Generators, normal

# The noise, the velocity of Salimans & Ho 2022, the clean image, or the velocity eps - x_0 of flow matching, there or
# on the average of a step.
Prediction = Literal["eps", "v", "x0", "flow", "meanflow"]
PREDICTIONS: dict[str, Prediction] = {name: name for name in get_args(Prediction)}


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
    if prediction in ("flow", "meanflow"):
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
    if prediction in ("flow", "meanflow"):
        total = alpha + sigma  # 1 on a straight path
        return Estimate((x - sigma * output) / total, (x + alpha * output) / total)
    return Estimate(alpha * x - sigma * output, sigma * x + alpha * output)


def thresholded(images: Images, quantile: float) -> Images:
    """Clip each image at the `quantile` of its absolute values, if above 1, and divide by that.

    So it comes into [-1, 1] without being saturated (Saharia et al. 2022, Section 2.3).
    """
    limits = torch.stack([image.abs().flatten().float().quantile(quantile) for image in images]).clamp(min=1)
    limits = broadcast(limits.to(images), images)
    return torch.minimum(torch.maximum(images, -limits), limits) / limits


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
    denoise: Denoiser, images: Images, schedule: NoiseLevels, *, generator: Generators, levels: int = 256
) -> Float[Tensor, " batch"]:
    """Return an upper bound on each image's negative log2-likelihood, in bits per value (Ho et al. 2020, Eq. 5 and 13).

    `denoise` is called once per timestep, with noise from `generator`; the reverse process is that of
    `ddpm_step`. Values are `levels` evenly spaced ones from -1 to 1.
    """
    # From the clean image on, whose place is 0.
    signals, noises = schedule.levels(torch.arange(-1, schedule.num_timesteps))
    ratio = (signals / noises) ** 2
    last, spread = signals[-1].item() ** 2, noises[-1].item() ** 2
    nats = 0.5 * (last * images**2 + spread - 1 - math.log(spread))  # L_T: from q(x_T | x_0) to the standard normal
    for t in range(schedule.num_timesteps):
        noise = normal(images.shape, generator, images)
        x = add_noise(images, noise, t, schedule)
        image = schedule.estimate(denoise(x, torch.full((len(x),), t, device=x.device)), x, t).image
        if t > 0:
            # Between normals of one variance, in terms of the images they lead to (Kingma et al. 2021, Eq. 13).
            nats = nats + 0.5 * (ratio[t] - ratio[t + 1]).item() * (image - images) ** 2
        else:
            # The decoder has no variance of its own at t = 0; as in Ho et al.'s code, that of t = 1 stands in.
            second = min(1, schedule.num_timesteps - 1)
            nats = nats - _log_probability(images, image, _posterior_deviation(schedule, second), levels)
    return nats.flatten(1).mean(1) / math.log(2)


def _posterior_deviation(schedule: NoiseLevels, t: int) -> float:
    """Of q(x_{t-1} | x_t, x_0)."""
    (signal, noise), (signal_before, noise_before) = schedule.levels(t), schedule.levels(t - 1)
    added = noise**2 - (signal / signal_before * noise_before) ** 2
    return (noise_before / noise * added.sqrt()).item()


def _log_probability(values: Tensor, mean: Tensor, deviation: float, levels: int) -> Tensor:
    """Log-mass of a normal distribution on each value's bin; the outermost bins reach to infinity (Eq. 13)."""
    half = 1 / (levels - 1)
    above, below = ((values - mean + offset) / deviation for offset in (half, -half))
    above = above.masked_fill(values > 1 - half, math.inf)
    below = below.masked_fill(values < half - 1, -math.inf)
    # On the right-hand side both are mirrored, so that small masses are not differences of numbers near 1.
    above, below = torch.where(below > 0, -below, above), torch.where(below > 0, -above, below)
    return (torch.special.ndtr(above) - torch.special.ndtr(below)).clamp(min=1e-30).log()
