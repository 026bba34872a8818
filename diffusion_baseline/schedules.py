"""Noise schedules of the forward process, t = 0 (least noise) to T - 1 (nearly pure noise)."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from var.errors import UserError, chosen
from var.names import received

MOST_TIMESTEPS = 10**6

Images = Float[Tensor, "batch *shape"]
Timesteps = int | Int[Tensor, ""] | Int[Tensor, " batch"]


class Estimate(NamedTuple):
    """What a denoiser says of x_t = signal x_0 + noise eps: both parts of it."""

    image: Images  # x_0
    noise: Images  # eps


# Any callable (x_t, timesteps (batch,)) -> eps in the shape of x_t, or both parts, without which no image can be told
# where x_t holds nothing of it. Guidance wraps one, samplers call one.
Denoiser = Callable[[Tensor, Tensor], Tensor | Estimate]


class NoiseLevels:
    """How much signal and how much noise x_t = signal_t x_0 + noise_t eps holds, at T levels; -1 is the clean image.

    Kept in float64 on the CPU: coefficients are computed there and rounded once, to the dtype of the images.
    """

    straight = False
    """Whether the path from image to noise is a line; other paths keep the variance."""

    def __init__(self, signals: Float64[Tensor, " timesteps"], noises: Float64[Tensor, " timesteps"]) -> None:
        # Index -1 finds the clean image.
        self._tables = torch.stack(
            [torch.cat([signals, signals.new_ones(1)]), torch.cat([noises, noises.new_zeros(1)])]
        )

    @property
    def num_timesteps(self) -> int:
        """T."""
        return self._tables.shape[1] - 1

    @property
    def noise(self) -> list[float]:
        """Noise at each of the T levels."""
        return self._tables[1, :-1].tolist()

    @property
    def ends_in_noise(self) -> bool:
        """Whether nothing of the image is left at T - 1."""
        return self._tables[0, -2].item() == 0

    def levels(
        self, timesteps: int | Int[Tensor, "*batch"]
    ) -> tuple[Float64[Tensor, "*batch"], Float64[Tensor, "*batch"]]:
        """Signal and noise at each timestep."""
        signal, noise = self._tables[:, timesteps.cpu() if isinstance(timesteps, Tensor) else timesteps].unbind()
        return signal, noise

    def signal_and_noise(self, timesteps: int | Int[Tensor, "*batch"], like: Tensor) -> tuple[Tensor, Tensor]:
        """The same, in the dtype of the images `like` and broadcasting against them."""
        if not isinstance(timesteps, Tensor):
            timesteps = torch.tensor(timesteps)
        # The tables go to the timesteps, not the timesteps to the tables: a training step never waits for the device.
        signal, noise = self._tables.to(like.dtype).to(timesteps.device)[:, timesteps].to(like.device)
        return broadcast(signal, like), broadcast(noise, like)

    def transition(
        self, earlier: int | Int[Tensor, "*batch"], later: int | Int[Tensor, "*batch"]
    ) -> tuple[Float64[Tensor, "*batch"], Float64[Tensor, "*batch"]]:
        """Ratio and variance of q(x_later | x_earlier) = N(ratio x_earlier, variance), which adds noise."""
        (signal, noise), (signal_before, noise_before) = self.levels(later), self.levels(earlier)
        ratio = signal / signal_before
        return ratio, noise**2 - (ratio * noise_before) ** 2

    def first(self, timesteps: int) -> "NoiseLevels":
        """The levels of so many timesteps from the image on, which end before there is nothing but noise."""
        levels = NoiseLevels(*self._tables[:, :timesteps])
        levels.straight = self.straight
        return levels

    def estimate(self, found: Images | Estimate, x: Images, timesteps: Timesteps) -> Estimate:
        """What a denoiser said of x_t = `x`, both parts."""
        if isinstance(found, Estimate):
            return found
        signal, noise = self.signal_and_noise(timesteps, x)
        return Estimate((x - noise * found) / signal, found)


class NoiseSchedule(NoiseLevels):
    """The variances beta_t of q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t) (Ho et al. 2020, Eq. 2).

    Raises `UserError` unless `betas` lie in (0, 1). With `zero_terminal` the last may be 1: nothing of the image is
    left there.
    """

    def __init__(self, betas: Float64[Tensor, " timesteps"], *, zero_terminal: bool = False) -> None:
        inner = betas[: len(betas) - zero_terminal]
        if len(betas) == 0 or not bool(((inner > 0) & (inner < 1)).all()):
            raise UserError(f"betas must be one or more numbers in (0, 1), got {betas.tolist()[:5]}; change them")
        self.betas = betas
        self.alphas_cumprod = torch.cumprod(1 - betas, dim=0)  # alpha-bar: signal variance left at t
        super().__init__(self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt())

    def alpha_bar(self, timesteps: int | Int[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """Signal variance at each timestep; timestep -1 is the clean image, where it is 1."""
        clean = torch.cat([self.alphas_cumprod, self.alphas_cumprod.new_ones(1)])
        return clean[timesteps.cpu() if isinstance(timesteps, Tensor) else timesteps]

    def zero_terminal(self) -> "NoiseSchedule":
        """The same beginning, but nothing left of the image at T - 1 (arXiv 2305.08891, Algorithm 1)."""
        signals = self.alphas_cumprod.sqrt()
        first, last = signals[0], signals[-1]
        alpha_bar = ((signals - last) * first / (first - last)) ** 2
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        return NoiseSchedule(1 - alpha_bar / before, zero_terminal=True)


class StraightSchedule(NoiseLevels):
    """The line x = (1 - s) x_0 + s eps, s = (t + 1) / T, from image to noise (Liu et al. 2023; Lipman et al. 2023)."""

    straight = True

    def __init__(self, num_timesteps: int) -> None:
        _check_num_timesteps(num_timesteps)
        noises = torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps
        super().__init__(1 - noises, noises)


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


SCHEDULES: dict[str, Callable[[int], NoiseLevels]] = {
    "cosine": cosine_schedule,
    "linear": linear_schedule,
    "straight": StraightSchedule,
}


def named_schedule(name: str, num_timesteps: int, *, zero_terminal: bool = False) -> NoiseLevels:
    """Build the schedule of that name with its default constants, with `zero_terminal` without signal at its end.

    Raises `UserError` for an unknown one, and for a single timestep that would hold nothing.
    """
    schedule = chosen(name, SCHEDULES, "noise schedule")(num_timesteps)
    if not zero_terminal or not isinstance(schedule, NoiseSchedule):  # a straight one ends in noise as it is
        return schedule
    if num_timesteps < 2:
        raise UserError(f"zero_terminal needs 2 timesteps or more, got {num_timesteps}; raise num_timesteps")
    return schedule.zero_terminal()


def _check_num_timesteps(num_timesteps: int) -> None:
    if not isinstance(num_timesteps, Integral) or isinstance(num_timesteps, bool):
        raise UserError(f"num_timesteps must be a whole number, got {received(num_timesteps)}; correct it")
    if num_timesteps < 1:
        raise UserError(f"a schedule needs at least 1 timestep, got {num_timesteps}; give a positive num_timesteps")
    if num_timesteps > MOST_TIMESTEPS:
        raise UserError(f"a schedule has at most {MOST_TIMESTEPS} timesteps, got {num_timesteps}; lower num_timesteps")
