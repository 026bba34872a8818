"""The rows of all training processes as one batch."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributed import all_gather, get_world_size, is_available, is_initialized


def distributed() -> bool:
    """Whether this process trains with others."""
    return is_available() and is_initialized()


def gathered(batch: Float[Tensor, "n *rest"]) -> Float[Tensor, "_n *rest"]:
    """The rows of all processes, first process first; every process must have as many. No gradient passes."""
    if not distributed():
        return batch
    parts = [torch.empty_like(batch) for _ in range(get_world_size())]
    all_gather(parts, batch.detach().contiguous())
    return torch.cat(parts)
