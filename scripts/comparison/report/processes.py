"""How samples come about, from plain data: a strip of stages to read, and all models' stages under one slider."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from comparison.report.figures import stage_strip
from var.evaluation.report.html import Html, element, figure
from var.evaluation.report.scrubbing import Reel, scrubber
from var.images import image_grid

STRIP_COLUMNS = 10
MOST_STAGES = 25
LARGEST = 64
"""Pixels of a side under the slider; larger pictures are shrunk."""
MOST_BYTES = 2**20
"""Of all pixels under the slider: noise cannot be compressed, and the page is one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The samples of a model at the stages of their making."""

    title: str
    caption: str
    alt: str
    stages: Sequence[Float[Tensor, "n c h w"]]  # in [-1, 1]
    names: Sequence[str]  # one for each stage
    wide: bool = False

    def strip(self) -> Html:
        """A figure of some of the stages side by side."""
        chosen = _evenly(len(self.stages), STRIP_COLUMNS)
        strip = stage_strip([self.stages[i] for i in chosen], [self.names[i] for i in chosen])
        return figure(strip, self.caption, alt=self.alt, title=self.title, wide=self.wide)

    def reel(self, most_bytes: int) -> Reel:
        """So many of the stages as take no more than `most_bytes` of pixels, two at least; samples side by side."""
        side = max(self.stages[0].shape[-2:])
        shape = [round(each * min(1, LARGEST / side)) for each in self.stages[0].shape[-2:]]
        size = self.stages[0].shape[:2].numel() * shape[0] * shape[1]
        chosen = _evenly(len(self.stages), max(2, min(MOST_STAGES, most_bytes // size)))
        stages = [F.interpolate(self.stages[i].float(), shape, mode="area") for i in chosen]
        pictures = [image_grid(each, len(each), padding=0).convert("RGB") for each in stages]
        return Reel(title=self.title, stages=pictures, names=[self.names[i] for i in chosen])


def under_a_slider(processes: Sequence[Process]) -> list[Html]:
    """The stages of all models under one slider, and what it does; nothing where there are no stages."""
    if not processes:
        return []
    reels = [each.reel(MOST_BYTES // len(processes)) for each in processes]
    hint = "Drag the slider: every model goes from its first stage to its last, each in steps of its own."
    return [element("p", hint, class_="scripted"), scrubber(reels, "Stage of the samples, from the first to the last")]


def _evenly(count: int, most: int) -> list[int]:
    return torch.linspace(0, count - 1, min(count, most)).round().long().unique().tolist()
