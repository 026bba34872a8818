"""What the loop must know of a model to train it."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from var.data.batches import Batch
from var.training.optimization import TrainingConfig

Numbers = dict[str, float | Tensor]
"""What to log of a step, by name; tensors are detached scalars."""


class Task(Protocol):
    """A model and its training loss. Effects (logging, saving, devices) belong to the loop."""

    @property
    def model(self) -> nn.Module:
        """What is trained, averaged and saved."""
        ...

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """Loss of one part of a step, a scalar, and detached numbers to log.

        `model` is `self.model` as the loop wrapped it (for several processes): call this one. `batch` is the step's
        global batch, or one of the equal parts into which processes and accumulation cut it. All randomness comes from
        `generator`, which is keyed by (seed, step, part) and lives on the batch's device.
        """
        ...


@runtime_checkable
class AdversarialTask(Task, Protocol):
    """A task with a second network (a discriminator) that learns from every step after the model did.

    While a `WaitingTask` says so, it does not.
    """

    @property
    def opponent(self) -> nn.Module:
        """The second network. Its parameters need no gradient while `loss` runs."""
        ...

    @property
    def opponent_training(self) -> TrainingConfig:
        """How the opponent is trained: learning rate, moments, weight decay and clip norm; the rest is the model's."""
        ...

    def opponent_loss(self, opponent: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Numbers]:
        """Loss of the opponent and numbers to log, for the very `batch` object that `loss` was given in this step.

        `opponent` is `self.opponent` as the loop wrapped it; `generator` is another stream than that of `loss`.
        """
        ...


@runtime_checkable
class WaitingTask(Protocol):
    """An adversarial task whose opponent does not take part from the first step on."""

    @property
    def opponent_learns(self) -> bool:
        """Whether it learns in the coming step, of which `begin_step` told; until then its optimiser stands still."""
        ...


@runtime_checkable
class SteppedTask(Protocol):
    """A task that must know how far the run is, for start steps and warm-ups."""

    def begin_step(self, step: int) -> None:
        """Hear the number of the coming step, from 0; it is right after a resume too."""


@runtime_checkable
class PeriodicTask(SteppedTask, Protocol):
    """A task whose steps do not all cost the same."""

    @property
    def period(self) -> int:
        """After so many steps those that cost more come again."""
        ...


@runtime_checkable
class WatchfulTask(Protocol):
    """A task that sees in its own numbers when something goes wrong, and says so."""

    def warnings(self, step: int, numbers: Mapping[str, float]) -> list[str]:
        """Sentences for the user about a row of the log, the means up to `step`; called on the main process."""
        ...


@runtime_checkable
class StatefulTask(Protocol):
    """A task with a state of its own beside its networks, which a checkpoint must keep for every process."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and what JSON can say, by name."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave; tensors come on the device of the run."""
