"""Random changes to training images; each draws from the generator it is given and from nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from var.errors import UserError

Augmentation = Callable[[Tensor, Generator], Tensor]
"""(image (channels, height, width) in [-1, 1], generator) -> image of the same shape. Must not write to its input."""


@dataclass(frozen=True)
class Shift:
    """Move by a whole number of pixels, uniform in [-pixels, pixels] along both axes.

    `fill` in [-1, 1] is the value of what comes into view; None repeats the border.
    """

    pixels: int
    fill: float | int | None = None

    def __post_init__(self):
        if self.pixels < 0:
            raise UserError(f"a shift must be 0 or more pixels, got {self.pixels}; it goes both ways by itself")

    def __call__(
        self, image: Float[Tensor, "channels height width"], generator: Generator
    ) -> Float[Tensor, "channels height width"]:
        """The image moved by an amount drawn from `generator`."""
        height, width = image.shape[1:]
        if self.pixels >= min(height, width):
            raise UserError(f"a shift must be smaller than the image, got {self.pixels} for {height}x{width}; lower it")
        top, left = torch.randint(0, 2 * self.pixels + 1, (2,), generator=generator).tolist()
        if self.fill is None:
            padded = F.pad(image[None], (self.pixels,) * 4, mode="replicate")[0]
            return padded[:, top : top + height, left : left + width]
        right, down = self.pixels - left, self.pixels - top
        return F.pad(image, (right, -right, down, -down), value=self.fill)


@dataclass(frozen=True)
class HorizontalFlip:
    """Swap left and right with `probability`."""

    probability: float | int = 0.5

    def __post_init__(self):
        if not 0 <= self.probability <= 1:
            raise UserError(f"a flip's probability must lie in [0, 1], got {self.probability}; 0.5 is usual")

    def __call__(
        self, image: Float[Tensor, "channels height width"], generator: Generator
    ) -> Float[Tensor, "channels height width"]:
        """The image, or its mirror image, as `generator` decides."""
        flip = torch.rand((), generator=generator).item() < self.probability
        return image.flip(-1) if flip else image


class Compose:
    """Several augmentations, one after another, drawing from one generator."""

    def __init__(self, steps: list[Augmentation] | tuple[Augmentation, ...]):
        self.steps = tuple(steps)

    def __repr__(self) -> str:
        return f"Compose({list(self.steps)})"

    def __call__(
        self, image: Float[Tensor, "channels height width"], generator: Generator
    ) -> Float[Tensor, "channels height width"]:
        """The image after all steps."""
        for step in self.steps:
            image = step(image, generator)
        return image
