"""The keys and values of the scales generated so far."""

from collections.abc import Sequence

import torch
from torch import Tensor

from var.transformer.config import VARConfig


class KVCache:
    """Storage for all layers and the whole sequence, allocated once a call and filled scale by scale."""

    def __init__(
        self, config: VARConfig, batch: int, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        shape = (config.depth, 2, batch, config.heads, config.schedule.length, config.head_width)
        self.rows = batch
        self.storage = torch.empty(shape, dtype=dtype, device=device)

    def views(self, where: slice) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """A layer each: the place of `where` (2, batch, heads, new, c); keys, and values, of [0, where.stop)."""
        known = self.storage[:, :, :, :, : where.stop]
        return self.storage[:, :, :, :, where].unbind(), known[:, 0].unbind(), known[:, 1].unbind()
