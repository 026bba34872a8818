"""Training without the label now and then, which classifier-free guidance needs; the same for both paradigms."""

import torch
from torch import Tensor


def drop_labels(labels: Tensor, probability: float, null_label: int, generator: torch.Generator) -> Tensor:
    """Labels with each replaced by the null label with `probability`, for classifier-free guidance."""
    dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < probability
    return labels.masked_fill(dropped, null_label)
