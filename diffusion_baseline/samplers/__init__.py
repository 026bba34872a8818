"""From noise to images: every module here is a sampler, and a new one is a module.

A module NAME has the function `sample_NAME(denoise, noise, schedule, *, steps, generator, on_step)`. Its denoiser
returns eps, or an `Estimate` where the schedule ends in noise: guidance, kinds of prediction and clipping are wrapped
into it by the caller. Where a step is not one call of it, at the timestep where the step begins, `called_at(timesteps)`
says at which ones it is called. The default of `steps` is what the pipeline takes, None being one for each timestep;
further keywords are filled from the sampling settings of the same name, such as `eta` and `spacing`.
"""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from var.errors import chosen
from var.lazy import lazy_names

if TYPE_CHECKING:
    from diffusion_baseline.samplers.ddim import ddim_step as ddim_step
    from diffusion_baseline.samplers.ddim import sample_ddim as sample_ddim
    from diffusion_baseline.samplers.ddpm import ddpm_step as ddpm_step
    from diffusion_baseline.samplers.ddpm import sample_ddpm as sample_ddpm
    from diffusion_baseline.samplers.dpmpp import sample_dpmpp as sample_dpmpp
    from diffusion_baseline.samplers.euler import sample_euler as sample_euler
    from diffusion_baseline.samplers.expab import sample_expab as sample_expab
    from diffusion_baseline.samplers.heun import heun_step as heun_step
    from diffusion_baseline.samplers.heun import sample_heun as sample_heun
    from diffusion_baseline.samplers.unipc import sample_unipc as sample_unipc

SAMPLERS = {module.name: f"{__name__}.{module.name}" for module in iter_modules(__path__)}
"""Where each sampler lives; only the one that is used is imported, so that command lines may know the names."""

STEPS = ("ddim", "ddpm", "heun")
"""Samplers whose single step, `NAME_step`, is public too."""


def find_sampler(name: str) -> Callable[..., Any]:
    """The function of the sampler `name`; raises `UserError` with suggestions for an unknown one."""
    return getattr(import_module(chosen(name, SAMPLERS, "sampler")), f"sample_{name}")


def usual_steps(name: str, num_timesteps: int) -> int:
    """Steps of the sampler `name` where nobody says how many: its own number, at most one for each timestep."""
    own = inspect.signature(find_sampler(name)).parameters["steps"].default
    return min(own or num_timesteps, num_timesteps)


def called_at(name: str, timesteps: Sequence[int]) -> Sequence[int]:
    """The timesteps at which the sampler `name` calls the denoiser, at most, in a walk that visits `timesteps`."""
    return getattr(import_module(SAMPLERS[name]), "called_at", lambda timesteps: timesteps)(timesteps)


def network_evaluations(name: str, steps: int) -> int:
    """Calls of the denoiser in so many steps of the sampler `name`, at most."""
    return len(called_at(name, range(steps)))


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {module: f"sample_{name}" + f" {name}_step" * (name in STEPS) for name, module in SAMPLERS.items()},
    "SAMPLERS",
    "called_at",
    "find_sampler",
    "network_evaluations",
    "usual_steps",
)
