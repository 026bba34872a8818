"""What an image costs in bits per dimension: by the probability-flow ODE, and by the variational bound beside it."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_baseline.denoising import Denoising
from diffusion_baseline.diffusion import variational_bound
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.schedules import Denoiser, Images, NoiseLevels
from diffusion_baseline.stepping import Generators, normal
from var import checks
from var.errors import UserError, chosen
from var.eval_mode import eval_mode
from var.images import Signed
from var.names import received
from var.sampling import labels
from var.sampling.editing import GivenImages, given_images
from var.sampling.finite import Finite, check_finite
from var.sampling.labels import ClassLabels
from var.sampling.prompts import Prompt
from var.sampling.streams import Generators as Streams
from var.sampling.streams import GivenSeeds, random_streams
from var.sampling.vectors import Vectors

MOST_USUAL = 50
"""Steps of the ODE that are taken where no number is asked for."""

MOST_LEVELS = 2**16
"""Of 16-bit images; float32 tells no more of them apart from what lies between."""


def check_levels(images: Images, levels: int) -> None:
    """Raise `UserError` unless `images` hold nothing but `levels` evenly spaced values from -1 to 1."""
    if not 2 <= checks.argument("levels", levels, int) <= MOST_LEVELS:
        raise UserError(
            f"a likelihood needs 2 levels or more, got {levels}; 8-bit images have 256, and {MOST_LEVELS} are the most"
        )
    steps = (images.double() + 1) / 2 * (levels - 1)
    if len(images) and ((steps - steps.round()).abs().max() > 1e-2 or steps.min() < -0.5 or steps.max() > levels - 0.5):
        raise UserError(
            f"a likelihood over {levels} levels needs images of just these, evenly spaced from -1 to 1, got others; "
            "round them, or give the number of their levels"
        )


def ode_bits_per_dimension(
    denoise: Denoiser,
    images: Images,
    schedule: NoiseLevels,
    *,
    generator: Generators,
    levels: int = 256,
    steps: int | None = None,
) -> Float[Tensor, " batch"]:
    """Return each image's bits per value by the probability-flow ODE (Song et al. 2021, arXiv 2011.13456, Eq. 39).

    Values are `levels` evenly spaced ones from -1 to 1, which uniform noise makes continuous (Theis et al. 2016): in
    its mean an upper bound of that of the discrete values. The ODE begins where the model's noise is as strong as that,
    and goes by Heun's method, in 50 steps if there are so many; the divergence is estimated with one random sign per
    value (Hutchinson 1990), without bias.
    """
    width = 2 / (levels - 1)
    x = images + width * (torch.special.ndtr(normal(images.shape, generator, images)) - 0.5)
    probe = normal(images.shape, generator, images).sign()
    signals, noises = schedule.levels(torch.arange(schedule.num_timesteps))
    # In these times the path has the velocity of `_drift`: on a circle of signal and noise, its angle.
    times = noises if schedule.straight else torch.atan2(noises, signals)
    first = int((noises < signals * width / math.sqrt(12)).sum().clamp(max=len(times) - 1))
    walk = _walk(times, first, steps)
    x = signals[first].item() * x
    # Of the density of x_t in the end, and that of the scaled and discrete values in the beginning.
    log_density = torch.full((len(x),), (signals[first].log().item() + math.log(width)) * x[0].numel()).to(x)
    for t, following in pairwise(walk):
        length = (times[following] - times[t]).item()
        slope, divergence = _drift(denoise, x, t, schedule, probe)
        ahead, divergence_ahead = _drift(denoise, x + length * slope, following, schedule, probe)
        x = x + length / 2 * (slope + ahead)
        log_density = log_density + length / 2 * (divergence + divergence_ahead)
    log_density = log_density - 0.5 * (x**2 + math.log(2 * math.pi)).flatten(1).sum(1)
    check_finite(log_density, "a likelihood needs finite predictions", "look at the network's weights")
    return -log_density / (math.log(2) * x[0].numel())


def _walk(times: Tensor, first: int, steps: int | None) -> list[int]:
    """The timesteps, from the `first` to the last, whose times are nearest to evenly spaced ones."""
    total = len(times)
    count = min(MOST_USUAL, total) if steps is None else checks.argument("steps", steps, int)
    if not 1 <= count <= total:
        raise UserError(f"the ODE takes 1 to {total} steps with this schedule, got {count}; change the steps")
    even = torch.linspace(times[first].item(), times[-1].item(), count + 1, dtype=times.dtype)
    return sorted(set((times - even[:, None]).abs().argmin(1).tolist()))


def _drift(denoise: Denoiser, x: Images, t: int, schedule: NoiseLevels, probe: Images) -> tuple[Images, Tensor]:
    """The velocity of x_t, and its divergence as the `probe` sees it."""
    signal, noise = (1.0, 1.0) if schedule.straight else (level.item() for level in schedule.levels(t))
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        found = schedule.estimate(denoise(x, torch.full((len(x),), t, device=x.device)), x, t)
        velocity = signal * found.noise - noise * found.image
        (change,) = torch.autograd.grad(velocity, x, probe)
    return velocity.detach(), (change * probe).flatten(1).sum(1)


METHODS: dict[str, Callable[..., Tensor]] = {"bound": variational_bound, "ode": ode_bits_per_dimension}
"""(denoise, images, schedule, *, generator, levels) -> bits per dimension of each image, by name."""


class Likelihoods(Denoising):
    """The part of a pipeline that tells what images cost."""

    @torch.inference_mode(False)
    @torch.no_grad()
    def bits_per_dimension(
        self,
        images: GivenImages,
        class_labels: ClassLabels = None,
        *,
        prompt: Prompt = None,
        vectors: Vectors = None,
        method: str = "bound",
        levels: int = 256,
        steps: int | None = None,
        generator: Streams = None,
        seeds: GivenSeeds = None,
    ) -> Float[Tensor, " batch"]:
        """Bits per value of each image, given what it shows or (None) without: an upper bound, or in its mean one.

        Images are given as for `edit`, see `given_images`, and hold `levels` evenly spaced values of their range only.
        `method`: "bound", the variational bound, which calls the network at every timestep; or "ode", the likelihood
        under the probability-flow ODE with uniform dequantisation, in so many `steps` (None: 50 at most). Randomness is
        that of a call; an image's number depends on its own seed only. Raises `UserError` for what makes no sense.
        """
        bits = chosen(method, METHODS, "method")
        if self.codec is not None:
            raise UserError("bits per dimension are those of pixels, got a model of latents; use one without a codec")
        if labels.asks_for_random(class_labels, self.class_names):
            raise UserError(
                f"a likelihood is that of given labels, got class_labels={received(class_labels)}; pass numbers"
            )
        config = self._network().config
        images = _read(images, config.image_channels, config.size)
        check_levels(images, levels)
        if steps is not None and method == "bound":
            raise UserError(f"the bound takes every timestep, got steps={steps}; leave them out, or ask for 'ode'")
        generators, seeds = random_streams(len(images), generator, seeds)
        condition = self._condition(class_labels, prompt, vectors, len(images), seeds)
        finite = Finite("a likelihood needs finite predictions", "look at the network's weights")
        # By a sampler that asks for velocities at an instant.
        settings = SamplingSettings(guidance_scale=1, sampler="ddpm")
        denoise = self._denoiser(condition.to(self.device), settings, finite, None)
        with eval_mode(self.unet):
            options = {"steps": steps} if method == "ode" else {}
            found = bits(denoise, images.to(self.device), self.schedule, generator=generators, levels=levels, **options)
        finite.settle()
        return found


def _read(given: GivenImages, channels: int, size: tuple[int, int]) -> Images:
    """Images of a call in [-1, 1], in their own type of float, else in float32."""
    rule = "a likelihood is that of at least one image"
    images = given_images(given, channels=channels, size=size, rule=rule)
    own = given.images if isinstance(given, Signed) else given
    return images.to(own.dtype if isinstance(own, Tensor) and own.is_floating_point() else torch.float32)
