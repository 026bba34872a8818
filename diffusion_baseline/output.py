"""What a call of a diffusion pipeline gives."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from var.sampling.output import Output


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DiffusionOutput(Output):
    """Images and how they came about."""

    images: Any  # as `output_type` says: list of PIL images, float tensor NCHW or float array NHWC in [0, 1]
    labels: Tensor  # (batch,); num_classes is the null label
    seeds: list[int]  # of every image; passing it as `seeds` with the other settings repeats the image
    intermediates: list[Any] | None = None  # the clean images predicted at every step, in the same form, if asked for
