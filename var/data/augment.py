"""Random changes to training images; each draws from the generator it is given and from nothing else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from var import checks
from var.data.pictures import Framing, cover
from var.errors import UserError

Augmentation = Callable[[Tensor, Generator], Tensor]
"""(image (channels, height, width) in [-1, 1], generator) -> image of the same shape. Must not write to its input."""

_Number = float | int  # as it was written: a cache of tokens knows an augmentation by how it is written
Images = Float[Tensor, "batch c h w"]


class _ManyAtOnce:
    """An augmentation written for many images; one alone is a batch of one, so that both are the same bit for bit."""

    def many(self, images: Images, generators: Sequence[Generator]) -> Images:
        """Every image changed as its generator decides."""
        raise NotImplementedError

    def __call__(self, image: Float[Tensor, "c h w"], generator: Generator) -> Float[Tensor, "c h w"]:
        """The image changed as `generator` decides."""
        return self.many(image[None], [generator])[0]


@dataclass(frozen=True)
class Shift(_ManyAtOnce):
    """Move by a whole number of pixels, uniform in [-pixels, pixels] along both axes.

    `fill` in [-1, 1] is the value of what comes into view; None repeats the border.
    """

    pixels: int
    fill: _Number | None = None

    def __post_init__(self):
        checks.fields(self)
        if self.pixels < 0:
            raise UserError(f"a shift must be 0 or more pixels, got {self.pixels}; it goes both ways by itself")

    def many(self, images: Images, generators: Sequence[Generator]) -> Images:
        """The images moved, each by an amount drawn from its generator."""
        height, width = images.shape[2:]
        if self.pixels >= min(height, width):
            raise UserError(f"a shift must be smaller than the image, got {self.pixels} for {height}x{width}; lower it")
        padded = F.pad(images, (self.pixels,) * 4, "replicate" if self.fill is None else "constant", self.fill)
        places = [torch.randint(0, 2 * self.pixels + 1, (2,), generator=g).tolist() for g in generators]
        return _windows(padded, places, height, width)


@dataclass(frozen=True)
class HorizontalFlip(_ManyAtOnce):
    """Swap left and right with `probability`."""

    probability: _Number = 0.5

    def __post_init__(self):
        checks.fields(self)
        if not 0 <= self.probability <= 1:
            raise UserError(f"a flip's probability must lie in [0, 1], got {self.probability}; 0.5 is usual")

    def many(self, images: Images, generators: Sequence[Generator]) -> Images:
        """The images, or their mirror images, as each generator decides."""
        flipped = [torch.rand((), generator=generator).item() < self.probability for generator in generators]
        return torch.where(torch.tensor(flipped)[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True)
class RandomCrop(_ManyAtOnce):
    """A window of the image's size out of the image enlarged to `scale` times that size (arXiv 2404.02905's recipe).

    Pictures of a folder are not enlarged but brought to that size, and the window moves along the longer side too.
    """

    scale: _Number = 1.125

    def __post_init__(self):
        checks.fields(self)
        if not 1 <= self.scale <= 4:
            raise UserError(f"a crop's scale must lie in [1, 4], got {self.scale}; 1.125 is usual")

    def many(self, images: Images, generators: Sequence[Generator]) -> Images:
        """A window of each image."""
        height, width = images.shape[2:]
        size = round(self.scale * height), round(self.scale * width)
        larger = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)
        places = [_place(*size, height, width, generator) for generator in generators]
        return _windows(larger, places, height, width)

    def frame(self, picture: Image.Image, height: int, width: int, generator: Generator) -> Image.Image:
        """A window of `picture`, which is resized to just cover `scale` times `height` x `width`."""
        larger = cover(picture, round(self.scale * height), round(self.scale * width))
        top, left = _place(larger.height, larger.width, height, width, generator)
        return larger.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class RandomResizedCrop(_ManyAtOnce):
    """A part of random `area` (share of the whole) and `aspect` (width to height), resized to the image's size.

    Of ten draws the first that fits is taken, as torchvision does; if none does, the largest square in the middle.
    """

    area: tuple[_Number, _Number] = (0.2, 1.0)
    aspect: tuple[_Number, _Number] = (3 / 4, 4 / 3)

    def __post_init__(self):
        checks.fields(self)
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UserError(f"a crop's area must lie in (0, 1], low before high, got {self.area}; (0.2, 1) is usual")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise UserError(f"a crop's aspect must be above 0, low before high, got {self.aspect}; (3/4, 4/3) is usual")

    def many(self, images: Images, generators: Sequence[Generator]) -> Images:
        """A part of each image."""
        height, width = images.shape[2:]
        parts = []
        for image, generator in zip(images, generators, strict=True):
            top, left, high, wide = self._part(height, width, generator)
            part = image[None, :, top : top + high, left : left + wide]
            parts.append(F.interpolate(part, (height, width), mode="bicubic", antialias=True).clamp(-1, 1))
        return torch.cat(parts)

    def frame(self, picture: Image.Image, height: int, width: int, generator: Generator) -> Image.Image:
        """A part of `picture` resized to `height` x `width`."""
        top, left, high, wide = self._part(picture.height, picture.width, generator)
        part = picture.crop((left, top, left + wide, top + high))
        return part.resize((width, height), Image.Resampling.BICUBIC)

    def _part(self, height: int, width: int, generator: Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part."""
        draws = torch.rand(10, 4, dtype=torch.float64, generator=generator).tolist()
        low, high = (math.log(aspect) for aspect in self.aspect)
        for area, aspect, down, right in draws:
            pixels = height * width * (self.area[0] + area * (self.area[1] - self.area[0]))
            ratio = math.exp(low + aspect * (high - low))
            part_height, part_width = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
            if 0 < part_height <= height and 0 < part_width <= width:
                top, left = int(down * (height - part_height + 1)), int(right * (width - part_width + 1))
                return top, left, part_height, part_width
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side


@dataclass(frozen=True)
class RandomAffine(_ManyAtOnce):
    """Shift, turn, zoom and shear at random, each by up to `most`, with `probability`.

    A shift is a share of the image, a turn is in radians, a zoom is the logarithm of the magnification, a shear is a
    share of the distance to the middle. All are uniform in [-most, most]. What comes into view repeats the border.
    An image that is not square is turned as if it were, which shears it a little.
    """

    most: _Number = 0.15
    probability: _Number = 0.8

    def __post_init__(self):
        checks.fields(self)
        if not 0 <= self.most <= 1:
            raise UserError(f"an affine map must move by 0 to 1, got {self.most}; 0.15 is usual")
        if not 0 <= self.probability <= 1:
            raise UserError(f"an affine map's probability must lie in [0, 1], got {self.probability}; 0.8 leaves some")

    def many(self, images: Images, generators: Sequence[Generator]) -> Images:
        """The images moved, each by a map drawn from its generator."""
        draws = torch.stack([torch.rand(7, generator=generator) for generator in generators])
        right, down, turn, zoom, shear_x, shear_y = ((2 * draws[:, :6] - 1) * self.most).T[..., None, None]
        y, x = (torch.linspace(1 / n - 1, 1 - 1 / n, n) for n in images.shape[2:])
        y, x = y[:, None].expand(images.shape[2:]), x.expand(images.shape[2:])
        across, along = torch.exp(zoom) * torch.cos(turn), torch.exp(zoom) * torch.sin(turn)
        # By hand: a matrix product may round otherwise for other numbers of images.
        grid = torch.stack(
            (across * x - along * y + shear_x * y + 2 * right, along * x + across * y + shear_y * x + 2 * down), dim=-1
        )
        moved = F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(-1, 1)
        return torch.where((draws[:, 6] < self.probability)[:, None, None, None], moved, images)


class Compose:
    """Several augmentations, one after another, drawing from one generator.

    A `Framing` in the first place works on the whole pictures of data that have them.
    """

    def __init__(self, steps: list[Augmentation] | tuple[Augmentation, ...]):
        self.steps = tuple(steps)

    def __repr__(self) -> str:
        return f"Compose({list(self.steps)})"

    def __call__(self, image: Float[Tensor, "c h w"], generator: Generator) -> Float[Tensor, "c h w"]:
        """The image after all steps."""
        for step in self.steps:
            image = step(image, generator)
        return image


def augment_many(augment: Augmentation, images: Images, generators: Sequence[Generator]) -> Images:
    """What `augment` makes of every image with its generator, at once where the augmentation can do that."""
    if isinstance(augment, Compose):
        for step in augment.steps:
            images = augment_many(step, images, generators)
        return images
    if isinstance(augment, _ManyAtOnce):
        return augment.many(images, generators)
    return torch.stack([augment(image, generator) for image, generator in zip(images, generators, strict=True)])


def split_framing(augment: Augmentation | None) -> tuple[Framing | None, Augmentation | None]:
    """The framing that `augment` begins with, and what comes after it; None where there is none."""
    if isinstance(augment, Framing):
        return augment, None
    if isinstance(augment, Compose) and augment.steps and isinstance(augment.steps[0], Framing):
        return augment.steps[0], Compose(augment.steps[1:])
    return None, augment


def _windows(
    images: Images, places: Sequence[Sequence[int]], height: int, width: int
) -> Float[Tensor, "batch channels window_height window_width"]:
    """Of every image the window of `height` x `width` whose (top, left) is given."""
    chosen = zip(images, places, strict=True)
    return torch.stack([image[:, top : top + height, left : left + width] for image, (top, left) in chosen])


def _place(height: int, width: int, window_height: int, window_width: int, generator: Generator) -> tuple[int, int]:
    """(top, left) of a window, uniform over all places in (`height`, `width`)."""
    down, right = torch.rand(2, dtype=torch.float64, generator=generator).tolist()
    return int(down * (height - window_height + 1)), int(right * (width - window_width + 1))
