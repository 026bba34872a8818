"""What every set of images can do."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


@runtime_checkable
class ImageData(Protocol):
    """Labelled images of one shape, with random access. Implementations must survive pickling for worker processes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a label indexes them."""
        ...

    @property
    def labels(self) -> Int64[Tensor, " length"]:
        """The label of each image, in [0, number of classes)."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        ...

    def __len__(self) -> int: ...

    def load(self, index: int) -> Float[Tensor, "channels height width"]:
        """The image at `index`, float32 in [-1, 1]; raises `UserError` if it cannot be read."""
        ...
