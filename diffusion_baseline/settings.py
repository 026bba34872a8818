"""The settings of a run of the baseline: all that moves its result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from diffusion_baseline.diffusion import Prediction
from diffusion_baseline.meanflow import check_interval
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.schedules import MOST_TIMESTEPS
from diffusion_baseline.unet import UNet, UNetConfig
from diffusion_baseline.weighting import DENSITIES, LOSS_WEIGHTS
from var import checks
from var.autoencoder import LatentCodec
from var.configs import added
from var.errors import chosen
from var.randomness import keyed_global_stream
from var.runs.settings import GeneratorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionRun(GeneratorSettings):
    """Everything that training and sampling need to know: the settings of a run."""

    unet: UNetConfig
    schedule: Literal["cosine", "linear", "straight"] = "cosine"
    num_timesteps: int = 1000
    zero_terminal: bool = added(False)  # nothing of the image is left at the end of the schedule
    prediction: Prediction = "v"
    loss_weight: str = added("uniform")  # of the error at each noise level
    timestep_density: str = added("uniform")  # how often each is trained on
    interval_share: float = added(0.25)  # of the images, for prediction "meanflow": told more than one instant
    guidance_scale: float = 1.5  # with which samples are drawn
    sampling_steps: int = 50  # of DDIM, with which samples are drawn in between
    latent: bool = added(False)  # whether latents of a codec are diffused, which gives the U-Net's size and channels

    def __post_init__(self) -> None:
        GeneratorSettings.__post_init__(self)
        checks.at_least(1, self, "num_timesteps", "sampling_steps")
        checks.share(self, "interval_share")
        chosen(self.loss_weight, LOSS_WEIGHTS, "loss_weight")
        chosen(self.timestep_density, DENSITIES, "timestep_density")
        check_interval(self.prediction, self.schedule, self.unet.interval)
        checks.at_most(MOST_TIMESTEPS, self, "num_timesteps", "sampling_steps")

    @property
    def sampling(self) -> SamplingSettings:
        """How samples are drawn in between."""
        steps = min(self.sampling_steps, self.num_timesteps)
        return SamplingSettings(guidance_scale=self.guidance_scale, num_inference_steps=steps)

    def pipeline(
        self, class_names: Sequence[str] | None = None, *, seed: int = 0, codec: LatentCodec | None = None
    ) -> DiffusionPipeline:
        """Build the untrained pipeline, for these classes if they are given; its weights depend on `seed` only."""
        config = self.unet if class_names is None else replace(self.unet, num_classes=len(class_names))
        with keyed_global_stream("unet", seed):
            unet = UNet(config)
        return DiffusionPipeline(
            unet,
            schedule=self.schedule,
            num_timesteps=self.num_timesteps,
            zero_terminal=self.zero_terminal,
            prediction=self.prediction,
            class_names=class_names,
            codec=codec,
        )
