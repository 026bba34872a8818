"""From class labels to images by a family's network, called as the pipelines of both packages are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from comparison.families.model import FamilyNetwork, Sampling
from var.eval_mode import eval_mode
from var.hub import PretrainedPipeline
from var.images import format_images
from var.sampling.labels import ClassLabels, count_images, resolve_labels
from var.sampling.streams import GivenSeeds, random_streams


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyOutput:
    """Images, in the form that was asked for."""

    images: Any


class FamilyPipeline(PretrainedPipeline):
    """From class labels to images, called as the pipelines of both packages are."""

    parts = {"network": FamilyNetwork}  # noqa: RUF012 (read by the mixin, never changed)

    def __init__(self, network: FamilyNetwork, *, class_names: Sequence[str] | None = None) -> None:
        self.network = network.eval()
        self.class_names = None if class_names is None else tuple(class_names)

    def settings(self) -> dict[str, Any]:
        """The names of the classes."""
        return {"class_names": None if self.class_names is None else list(self.class_names)}

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(
        self,
        class_labels: ClassLabels = None,
        *,
        seeds: GivenSeeds = None,
        sampling: Sampling | None = None,
        output_type: str = "pil",
        progress: bool = True,  # none is shown
    ) -> FamilyOutput:
        """Draw an image for each label; it depends on its own seed only, not on the batch."""
        count = count_images(class_labels, None, seeds)
        generators, seeds = random_streams(count, None, seeds)
        labels = resolve_labels(class_labels, count, self.network.config.num_classes, seeds, self.class_names)
        with eval_mode(self.network):
            images = self.draw(labels.to(self.device), generators, sampling or Sampling())
        return FamilyOutput(images=format_images(images, output_type))

    def draw(self, labels: Tensor, generators: Sequence[Generator], sampling: Sampling) -> Tensor:
        """The images in [-1, 1]."""
        return self.network.sample(labels, generators, sampling)

    @torch.inference_mode(False)
    @torch.no_grad()
    def bits_per_dimension(self, images: Tensor, labels: Tensor, generator: Generator) -> Tensor:
        """See `FamilyNetwork.bits_per_dimension`."""
        with eval_mode(self.network):
            return self.network.bits_per_dimension(images.to(self.device), labels.to(self.device), generator)
