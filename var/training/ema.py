"""Exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from var.training.sharding import local


class AveragedWeights:
    """Running average of all parameters and floating-point buffers of `model`; other buffers are copied.

    The decay is ramped as min(decay, (1 + n) / (10 + n)) over the first updates n, so that the random start is
    forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the current weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(local(self.average[name]))
                values.append(local(value.detach()))
            else:
                self.average[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """Put the averaged weights into `model` for the length of the block, and the current ones back after it."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        # One tensor at a time, so that no third copy of the weights is needed; twice is as if never.
        seen: set[int] = set()
        for name, value in model.state_dict().items():
            place = local(value).data_ptr()
            if place and place in seen:
                continue  # a tied weight that was exchanged under its first name
            seen.add(place)
            current = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(current)
