"""Exponential moving average of a model's weights."""

import torch
from torch import Tensor, nn


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
                averages.append(self.average[name])
                values.append(value.detach())
            else:
                self.average[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)

    def copy_to(self, model: nn.Module) -> None:
        """Put the averaged weights into `model`."""
        model.load_state_dict(self.average)
