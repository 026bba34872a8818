"""What training the classifier minimises."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from diffusion_baseline.classifier.model import NoisyClassifier
from diffusion_baseline.diffusion import add_noise
from var.data.batches import Batch
from var.training.task import Numbers


class NoisyClassifierTask:
    """Cross-entropy of the classes of images at all noise levels alike (Dhariwal & Nichol 2021, Section 4.1)."""

    def __init__(self, model: NoisyClassifier) -> None:
        self.model, self.schedule = model, model.config.levels

    def loss(self, model: torch.nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """The loss, with timesteps and noise drawn from `generator`, and the share of correct predictions."""
        images, labels, steps = batch.images, batch.labels, self.schedule.num_timesteps
        timesteps = torch.randint(steps, (len(images),), generator=generator, device=images.device)
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        logits = model(add_noise(images, noise, timesteps, self.schedule), timesteps).float()
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        return F.cross_entropy(logits, labels), {"accuracy": accuracy}
