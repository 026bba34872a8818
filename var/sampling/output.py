"""What the outputs of both paradigms' pipelines have in common: they are told in a line, not by all their numbers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from var.errors import listed
from var.quantities import count

MOST_SEEDS = 4
"""That are told."""


class Output:
    """Images with the seed of each; a dataclass with `repr=False`."""

    __slots__ = ()
    images: Any  # list of PIL images, float tensor NCHW or float array NHWC
    seeds: list[int]

    def __repr__(self) -> str:
        seeds = f"seeds {listed([*map(str, self.seeds)], MOST_SEEDS)}"
        return f"{type(self).__name__}({', '.join([_told(self.images), *self._more(), seeds])})"

    def _more(self) -> Sequence[str]:
        """What else is told of them; nothing unless overridden."""
        return ()


def _told(images: Any) -> str:
    """How many there are, and of which size."""
    if not len(images):
        return count(0, "image")
    first = images[0]
    shape = first.shape[-2:] if isinstance(first, Tensor) else getattr(first, "shape", None) or first.size[::-1]
    return f"{count(len(images), 'image')} of {shape[0]}x{shape[1]}"
