"""What training the U-Net minimises."""

from functools import partial

import torch
from torch import Generator, Tensor

from diffusion_baseline.diffusion import add_noise, simplified_loss
from diffusion_baseline.meanflow import mean_flow_loss
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.super_resolution import Enlarging, shrunken
from diffusion_baseline.weighting import DENSITIES, LOSS_WEIGHTS, weighted
from var import checks
from var.conditions import Condition
from var.data.batches import Batch
from var.errors import chosen
from var.training.task import Numbers


class DiffusionTask:
    """Train the network of a pipeline with the pipeline's own schedule and kind of prediction.

    `label_drop` is the probability of training with the null label, which classifier-free guidance needs; errors have a
    `loss_weight`, timesteps a density, see `weighting`; of a MeanFlow, `interval_share` of the images are told an
    interval, the others an instant.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        label_drop: float = 0.1,
        *,
        loss_weight: str = "uniform",
        timestep_density: str = "uniform",
        interval_share: float = 0.25,
    ):
        self.model, self.pipeline, self.label_drop = pipeline.unet, pipeline, label_drop
        self.loss_weight, self.interval_share = loss_weight, interval_share
        checks.probability(self, "label_drop")
        checks.share(self, "interval_share")
        chosen(loss_weight, LOSS_WEIGHTS, "loss_weight")
        self._draw = chosen(timestep_density, DENSITIES, "timestep_density")

    def loss(self, model: torch.nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """Return the mean weighted error, with timesteps, noise and what is dropped drawn from `generator`."""
        images = self.pipeline.encode(batch.images)
        schedule, prediction = self.pipeline.schedule, self.pipeline.prediction
        draw = partial(self._draw, len(images), schedule.num_timesteps, generator)
        timesteps = draw()
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        condition = self._shown(images, batch.condition.dropped(self.label_drop, generator), generator)

        if prediction == "meanflow":
            both = torch.stack([timesteps, draw()])
            timesteps, until = both.amax(0), both.amin(0) - 1
            errors = mean_flow_loss(model, images, noise, condition, timesteps, until, schedule, self.interval_share)
        else:
            denoise = partial(model, shown=condition)
            errors = simplified_loss(denoise, images, noise, timesteps, schedule, prediction)
        return weighted(self.loss_weight, errors, timesteps, schedule, prediction).mean(), {}

    def _shown(self, images: Tensor, condition: Condition, generator: Generator) -> Condition:
        """The condition, beside small images with noise where the network enlarges such (Ho et al. 2022, Alg. 1)."""
        config, schedule = self.model.config, self.pipeline.schedule
        if not config.small_size:
            return condition
        small = shrunken(images, config.small)
        most, device = round(config.small_noise * schedule.num_timesteps), images.device
        levels = torch.randint(most + 1, (len(small),), generator=generator, device=device)
        noise = torch.randn(small.shape, generator=generator, device=device)
        return Enlarging.made_of(condition, add_noise(small, noise, levels - 1, schedule), levels)
