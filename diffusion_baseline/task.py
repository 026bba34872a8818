"""What training the U-Net minimises."""

from functools import partial

import torch
from torch import Generator, Tensor

from diffusion_baseline.diffusion import add_noise, simplified_loss
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.super_resolution import Enlarging, shrunken
from var import checks
from var.conditions import Condition
from var.data.batches import Batch
from var.training.task import Numbers


class DiffusionTask:
    """Train the network of a pipeline with the pipeline's own schedule and kind of prediction.

    `label_drop` is the probability of training with the null label, which classifier-free guidance needs.
    """

    def __init__(self, pipeline: DiffusionPipeline, label_drop: float = 0.1):
        self.model, self.pipeline, self.label_drop = pipeline.unet, pipeline, label_drop
        checks.probability(self, "label_drop")

    def loss(self, model: torch.nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """Return the simplified loss, with timesteps, noise and what is dropped drawn from `generator`."""
        images, schedule = self.pipeline.encode(batch.images), self.pipeline.schedule
        device = images.device
        timesteps = torch.randint(schedule.num_timesteps, (len(images),), generator=generator, device=device)
        noise = torch.randn(images.shape, generator=generator, device=device)
        condition = self._shown(images, batch.condition.dropped(self.label_drop, generator), generator)

        denoise = partial(model, shown=condition)
        losses = simplified_loss(denoise, images, noise, timesteps, schedule, self.pipeline.prediction)
        return losses.mean(), {}

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
