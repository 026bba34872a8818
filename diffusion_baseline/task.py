"""What training the U-Net minimises."""

from functools import partial

import torch
from torch import Generator, Tensor

from diffusion_baseline.diffusion import simplified_loss
from diffusion_baseline.pipeline import DiffusionPipeline
from var import checks
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
        condition = batch.condition.dropped(self.label_drop, generator)

        denoise = partial(model, shown=condition)
        losses = simplified_loss(denoise, images, noise, timesteps, schedule, self.pipeline.prediction)
        return losses.mean(), {}
