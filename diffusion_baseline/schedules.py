"""Noise schedules of the forward process, t = 0 (least noise) to T - 1 (nearly pure noise)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from var.errors import UserError, chosen

MOST_TIMESTEPS = 10**6

Images = Float[Tensor, "batch *shape"]
Timesteps = int | Int[Tensor, ""] | Int[Tensor, " batch"]

# Any callable (x_t, timesteps (batch,)) -> prediction in the shape of x_t. Guidance wraps one, samplers call one.
Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The variances beta_t of q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t) (Ho et al. 2020, Eq. 2).

    Kept in float64 on the CPU: coefficients are computed there and rounded once, to the dtype of the images.
    """

    betas: Float64[Tensor, " timesteps"]  # in (0, 1)
    alphas_cumprod: Float64[Tensor, " timesteps"] = field(init=False)  # alpha-bar: signal variance left at t
    _with_clean: Float64[Tensor, " timesteps+1"] = field(init=False, repr=False)  # ... and 1, which index -1 finds

    def __post_init__(self):
        if len(self.betas) == 0 or not bool(((self.betas > 0) & (self.betas < 1)).all()):
            raise UserError(f"betas must be one or more numbers in (0, 1), got {self.betas.tolist()[:5]}; change them")
        alphas_cumprod = torch.cumprod(1 - self.betas, dim=0)
        object.__setattr__(self, "alphas_cumprod", alphas_cumprod)
        object.__setattr__(self, "_with_clean", torch.cat([alphas_cumprod, alphas_cumprod.new_ones(1)]))

    @property
    def num_timesteps(self) -> int:
        """T."""
        return len(self.betas)

    def alpha_bar(self, timesteps: int | Int[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """Signal variance at each timestep; timestep -1 is the clean image, where it is 1."""
        return self._with_clean[timesteps.cpu() if isinstance(timesteps, Tensor) else timesteps]

    def signal_and_noise(self, timesteps: int | Int[Tensor, "*batch"], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sqrt(alpha-bar), sqrt(1 - alpha-bar)), in the dtype and broadcasting against the images `like`."""
        if not isinstance(timesteps, Tensor):
            timesteps = torch.tensor(timesteps)
        # The tables go to the timesteps, not the timesteps to the tables: a training step never waits for the device.
        tables = torch.stack([self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()]).to(like.dtype)
        signal, noise = tables.to(timesteps.device)[:, timesteps].to(like.device)
        return broadcast(signal, like), broadcast(noise, like)


def broadcast(coefficient: Tensor, like: Tensor) -> Tensor:
    """Give coefficients, one per sample, the axes of the images `like`; a scalar stays one."""
    return coefficient.reshape(-1, *[1] * (like.ndim - 1)) if coefficient.ndim else coefficient


def linear_schedule(num_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """Betas evenly spaced from `beta_start` to `beta_end` (Ho et al. 2020, Section 4).

    The default ends are meant for 1000 timesteps; with far fewer, x_T keeps signal unless `beta_end` is raised.
    """
    _check_num_timesteps(num_timesteps)
    return NoiseSchedule(torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64))


def cosine_schedule(num_timesteps: int, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """Betas whose alpha-bar follows cos^2 of the time (Nichol & Dhariwal 2021, Eq. 17)."""
    _check_num_timesteps(num_timesteps)
    time = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    alpha_bar = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    return NoiseSchedule((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta))


SCHEDULES: dict[str, Callable[[int], NoiseSchedule]] = {"cosine": cosine_schedule, "linear": linear_schedule}


def named_schedule(name: str, num_timesteps: int) -> NoiseSchedule:
    """Build the schedule of that name with its default constants; raises `UserError` for an unknown one."""
    return chosen(name, SCHEDULES, "noise schedule")(num_timesteps)


def _check_num_timesteps(num_timesteps: int) -> None:
    if not isinstance(num_timesteps, Integral) or isinstance(num_timesteps, bool):
        raise UserError(f"num_timesteps must be a whole number, got {num_timesteps!r:.100}; correct it")
    if num_timesteps < 1:
        raise UserError(f"a schedule needs at least 1 timestep, got {num_timesteps}; give a positive num_timesteps")
    if num_timesteps > MOST_TIMESTEPS:
        raise UserError(f"a schedule has at most {MOST_TIMESTEPS} timesteps, got {num_timesteps}; lower num_timesteps")
