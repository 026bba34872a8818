"""MeanFlow (Geng et al. 2025, arXiv 2505.13447): the average velocity between two times, so that few steps are enough.

Times are the noise levels s = (t + 1) / T of a straight path; r is the earlier of two, the end of the step.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffusion_baseline.diffusion import add_noise
from diffusion_baseline.schedules import Images, NoiseLevels
from var.conditions import Condition
from var.errors import UserError
from var.hub.wrappers import unwrapped

ALONG_STEPS = ("ddim", "euler")
"""Samplers that follow one velocity from the beginning to the end of each step; others ask for that at an instant."""

Average = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t, timesteps t, timesteps t - r from the end of the step) -> the average velocity, in the shape of x_t."""

Network = Callable[..., Tensor]
"""(x_t, timesteps, condition) -> the same; with timesteps t - r as a fourth."""


def check_interval(prediction: str, schedule: str, interval: bool) -> None:
    """Raise `UserError` unless the average velocity, and only that, is predicted by a network of two times."""
    if (prediction == "meanflow") != interval:
        raise UserError(
            f"prediction='meanflow' and a network of two times go together, got prediction={prediction!r} and "
            f"interval={interval}; set both"
        )
    if interval and schedule != "straight":
        raise UserError(f"prediction='meanflow' needs schedule='straight', got {schedule!r}; set it")


def along_walk(network: Network, timesteps: Sequence[int], num_timesteps: int) -> Network:
    """The network as a walk through `timesteps` calls it: told how far each step leads; elsewhere, not anywhere."""
    spans = torch.zeros(num_timesteps, dtype=torch.long)
    for t, previous in pairwise([*timesteps, -1]):
        spans[t] = t - previous
    return lambda x, t, condition: network(x, t, condition, spans.to(t.device)[t])


@torch.no_grad()
def average_velocity_target(
    average: Average,
    x: Images,
    velocity: Images,
    timesteps: Int[Tensor, " batch"],
    spans: Int[Tensor, " batch"],
    num_timesteps: int,
) -> Images:
    """The right side of the MeanFlow identity u = v - (t - r) du/dt (Eq. 6), du/dt along the path (Eq. 8), r fixed."""
    times = timesteps.to(x.dtype), spans.to(x.dtype)
    ahead = torch.full_like(times[0], num_timesteps)  # timesteps in one unit of time
    # Attention has a derivative in this direction by plain matrix products only; torch warns once of what it uses.
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings(action="ignore", category=FutureWarning):
        change = torch.func.jvp(average, (x, *times), (velocity, ahead, ahead))[1]
    return velocity - (times[1] / num_timesteps).reshape(-1, *[1] * (x.ndim - 1)) * change


def mean_flow_loss(
    model: nn.Module,
    images: Images,
    noise: Images,
    condition: Condition,
    later: Int[Tensor, " batch"],
    earlier: Int[Tensor, " batch"],
    schedule: NoiseLevels,
    share: float,
) -> Float[Tensor, " batch"]:
    """Mean squared error of each sample's average velocity (Algorithm 1), between two timesteps; -1 is the clean image.

    That is for a `share` of the batch; the rest has the later one for both, which is flow matching.
    """
    apart = ceil(share * len(images))
    spans = torch.cat([(later - earlier)[:apart], torch.zeros_like(later[apart:])])
    x, velocity = add_noise(images, noise, later, schedule), noise - images
    output = model(x, later, condition, spans)
    # What is differentiated is the network itself, without gradients and without what gathers them in processes.
    network, first = unwrapped(model), slice(apart)
    moved = average_velocity_target(
        lambda x, timesteps, spans: network(x, timesteps, condition[first], spans),
        x[first],
        velocity[first],
        later[first],
        spans[first],
        schedule.num_timesteps,
    )
    target = torch.cat([moved, velocity[apart:]])
    return F.mse_loss(output.float(), target.float(), reduction="none").flatten(1).mean(1)
