"""What an image is asked to show, the same for both paradigms: a class, or nothing; and guidance towards it."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from var.errors import UserError


@dataclass(frozen=True)
class Condition:
    """What each image of a batch is asked to show: its class, or nothing where it is not `given`.

    Another kind is a subclass with more fields, tensors with the batch first, and an embedding that reads them.
    """

    labels: Int[Tensor, " batch"]
    given: Bool[Tensor, " batch"]

    @classmethod
    def of(cls, labels: Int[Tensor, " batch"]) -> Self:
        """The condition of class labels, all given."""
        return cls(labels, torch.ones_like(labels, dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.labels)

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """With every tensor changed."""
        changed: dict[str, Any] = {field.name: change(getattr(self, field.name)) for field in fields(self)}
        return replace(self, **changed)

    def to(self, device: torch.device | str) -> Self:
        """The condition on `device`."""
        # From pinned memory the copy runs beside the computation; from other memory the option changes nothing.
        return self.each(lambda part: part.to(device, non_blocking=part.is_pinned()))

    def null(self) -> Self:
        """As many rows that ask for nothing."""
        return replace(self, given=torch.zeros_like(self.given))

    def dropped(self, share: float, generator: torch.Generator) -> Self:
        """With each row asking for nothing with the probability `share`, which classifier-free guidance needs."""
        drawn = torch.rand(self.labels.shape, generator=generator, device=self.labels.device)
        return replace(self, given=self.given & (drawn >= share))

    def with_null(self) -> Self:
        """The rows, and after them as many that ask for nothing: what `guided` mixes."""
        twice = self.each(lambda part: part.repeat(2, *[1] * (part.ndim - 1)))
        twice.given[len(self) :] = False
        return twice


Shown = Condition | Int[Tensor, " batch"]
"""A condition, or class labels, of which the number of classes is the null label."""


def condition_of(shown: Shown) -> Condition:
    """Class labels as the condition that they are."""
    return Condition.of(shown) if isinstance(shown, Tensor) else shown


class ClassEmbedding(nn.Embedding):
    """A vector for every class, and a last one for images that are asked to show nothing."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__(num_classes + 1, width)
        self.num_classes = num_classes

    def forward(self, shown: Shown) -> Float[Tensor, "batch width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the network is told."""
        condition = condition_of(shown)
        return super().forward(condition.labels.masked_fill(~condition.given, self.num_classes))

    def check(self, shown: Shown) -> None:
        """Raise `UserError` unless all labels lie in [0, num_classes]; waits for the device, unless that is meta."""
        labels, last = condition_of(shown).labels, self.num_classes
        if labels.numel() and not labels.is_meta and (int(labels.min()) < 0 or int(labels.max()) > last):
            raise UserError(
                f"labels must lie in [0, {last}] ({last} is the null label), "
                f"got {int(labels.min())} to {int(labels.max())}; correct them"
            )


def guided(predicted: Float[Tensor, "twice_batch *rest"], scale: float) -> Float[Tensor, "batch *rest"]:
    """Null + scale (cond - null) of what a network predicts for `Condition.with_null`: 1 means off."""
    cond, null = predicted.chunk(2)
    return torch.lerp(null, cond, scale)
