"""Keys and values of what a call has drawn, for what it draws next."""

import copy
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from var.transformer.config import VARConfig


class KVCache:
    """Keys and values of all layers, as many as one scale sees: allocated once per call, filled pass by pass."""

    def __init__(
        self,
        config: VARConfig,
        passes: Sequence[Sequence[Tensor]],
        size: tuple[int, int],  # layers, rows
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.seen = config.schedule.seen(config.coarser)
        self.ends = [list(accumulate(map(len, parts))) for parts in passes]  # tokens of the map after each pass
        most = max(seen.stop - seen.start for seen in self.seen)
        layers, rows = size
        self.storage = torch.empty(layers, 2, rows, config.heads, most, config.head_width, dtype=dtype, device=device)

    def advance(self, scale: int) -> None:
        """Forget what `scale` and finer ones do not see; the first of what is left moves to the front."""
        start, last = self.seen[scale].start, self.seen[max(scale - 1, 0)]
        if start > last.start:
            kept = self.storage[:, :, :, :, start - last.start : last.stop - last.start]
            self.storage[:, :, :, :, : kept.shape[4]] = kept.clone()  # they may overlap

    def views(self, scale: int, number: int) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """Per layer: the place of a pass (2, rows, heads, new, c); keys, and values, of all that it sees."""
        seen, ends = self.seen[scale], self.ends[scale]
        known = self.storage[:, :, :, :, : seen.stop - seen.start - ends[-1] + ends[number]]
        new = ends[number] - (ends[number - 1] if number else 0)
        return known[:, :, :, :, -new:].unbind(), known[:, 0].unbind(), known[:, 1].unbind()

    def first(self, rows: int) -> "KVCache":
        """That of the first rows, in the same memory."""
        part = copy.copy(self)
        part.storage = self.storage[:, :, :rows]
        return part
