"""A tokenizer that learns nothing: what coarser averages leave over, rounded to a fixed row of grey levels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from var.images import check_images
from var.scales import ScaleSchedule
from var.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class GreyConfig:
    sides: tuple[int, ...] = (1, 2, 4, 8)
    vocabulary: int = 33  # levels from -2 to 2, as residuals of [-1, 1] are
    in_channels: int = 1
    width: int = 1

    @property
    def schedule(self):
        return ScaleSchedule(self.sides)

    @property
    def image_size(self):
        return self.schedule.shapes[-1]


class GreyPyramid(Tokenizer):
    config_class = GreyConfig

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.register_buffer("levels", torch.linspace(-2, 2, config.vocabulary)[:, None])

    def codes(self, scale):
        return self.levels

    def expand(self, codes, scale):
        return F.interpolate(codes, size=self.config.image_size)

    def shrink(self, latent, scale):
        return F.adaptive_avg_pool2d(latent, self.scales.shapes[scale])

    def latent(self, images):
        return images

    def encode(self, images, *, temperature=0, generator=None):
        check_images(images, channels=self.config.in_channels, size=self.config.image_size)
        token_maps, residual = [], images
        for scale in range(len(self.scales)):
            distances = (self.shrink(residual, scale) - self.levels[:, :, None]).abs()
            noise = torch.rand(distances.shape, generator=generator) * temperature
            token_maps.append((distances + noise).argmin(dim=1))
            residual = residual - self.contribution(token_maps[-1], scale)
        return token_maps

    def decoding(self):
        return (torch.nn.Identity(),)
