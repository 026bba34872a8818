"""The network of any family: it draws images and tells their likelihood, in one unit for all."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from var import checks
from var.conditions import Condition
from var.hub import PretrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What every family's network is told of the data; a family adds its own fields."""

    channels: int
    height: int
    width: int
    num_classes: int
    levels: int  # evenly spaced grey levels from -1 to 1 that the images have

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.at_least(1, self, "channels", "height", "width", "num_classes")
        checks.at_least(2, self, "levels")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a family's network is sampled."""

    guidance_scale: float = 1.0  # 1 is off
    temperature: float = 1.0  # spread of what is drawn: of a prior, or of each choice

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.not_negative(self, "guidance_scale", "temperature")

    def keywords(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)


class FamilyNetwork(PretrainedModel, nn.Module):
    """A network that is trained by its `forward`, and draws images."""

    config_class: ClassVar[type] = ImageConfig
    config: ImageConfig

    def forward(
        self, images: Float[Tensor, "batch c h w"], shown: Condition, generator: Generator
    ) -> Float[Tensor, " batch"]:
        """What training minimises, of each image; a family with a task of its own need not have it."""
        raise NotImplementedError

    def sample(
        self, labels: Int64[Tensor, " batch"], generators: Sequence[Generator], sampling: Sampling
    ) -> Float[Tensor, "batch c h w"]:
        """Images in [-1, 1], each of which depends on its own label and generator only."""
        raise NotImplementedError

    def bits_per_dimension(
        self, images: Float[Tensor, "batch c h w"], labels: Int64[Tensor, " batch"], generator: Generator
    ) -> Float[Tensor, " batch"]:
        """Negative log2-likelihood of each image of `levels` grey levels, or its bound, by the number of its values."""
        raise NotImplementedError


def dequantized(
    images: Float[Tensor, "batch c h w"], levels: int, generator: Generator
) -> Float[Tensor, "batch c h w"]:
    """The images with uniform noise as wide as a grey level, which gives discrete values a density (Theis et al. 2016).

    The density's mean log is at most the log of the probability that the model gives the level (arXiv 1511.01844, 3.1).
    """
    noise = torch.rand(images.shape, generator=generator, device=generator.device).to(images.device)
    return images + (noise - 0.5) * (2 / (levels - 1))


def bits_of_density(
    log_density: Float[Tensor, " batch"], images: Float[Tensor, "batch c h w"], levels: int
) -> Float[Tensor, " batch"]:
    """Bits per value of images whose `dequantized` values have that log-density in nats: a level's width counts."""
    return -(log_density / images[0].numel() + math.log(2 / (levels - 1))) / math.log(2)


def normal_draws(shape: Sequence[int], generators: Sequence[Generator], device: torch.device) -> Tensor:
    """Standard normal numbers of `shape` for each generator's image, (batch, *shape)."""
    return torch.stack([torch.randn(*shape, generator=one, device=one.device) for one in generators]).to(device)


def uniform_draws(shape: Sequence[int], generators: Sequence[Generator], device: torch.device) -> Tensor:
    """Numbers from [0, 1) of `shape` for each generator's image, (batch, *shape)."""
    return torch.stack([torch.rand(*shape, generator=one, device=one.device) for one in generators]).to(device)
