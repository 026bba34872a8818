"""What a call of the pipeline gives."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from var.quantities import count
from var.sampling.output import Output


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VAROutput(Output):
    """Images and how they came about."""

    images: Any  # as `output_type` says: list of PIL images, float tensor NCHW or float array NHWC in [0, 1]
    tokens: list[Tensor]  # K token maps (batch, side, side), coarse to fine
    labels: Tensor  # (batch,); num_classes is the null label
    seeds: list[int]  # of every image; passing it as `seeds` with the other settings repeats the image
    intermediates: list[Any] | None = None  # the images after every scale, in the same form, if asked for
    search: dict[str, Any] | None = None  # how the images were picked from candidates, fit for JSON; None where not

    def _more(self) -> list[str]:
        return [count(len(self.tokens), "scale")]
