"""What the loop must know of a model to train it."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from var.data.batches import Batch


@runtime_checkable
class Task(Protocol):
    """A model and its training loss. Effects (logging, saving, devices) belong to the loop."""

    @property
    def model(self) -> nn.Module:
        """What is trained, averaged and saved."""
        ...

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss of one step, a scalar, and detached numbers to log.

        `model` is `self.model` as the loop wrapped it (for several processes): call this one. All randomness of the
        step comes from `generator`, which is keyed by (seed, step, rank) and lives on the batch's device.
        """
        ...
