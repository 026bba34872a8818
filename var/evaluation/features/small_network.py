"""What the small networks that judge words see of an image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_LAYERS = ((16, 1), (32, 2), (48, 1), (64, 2), (64, 1))
"""Channels and stride of each 3x3 convolution."""
_PLACES, _LOOKS = 4, 4
_DULL = 8.0  # makes the hues of grounds as large as other numbers
WIDTH = 128


class SmallNetwork(nn.Module):
    """`WIDTH` numbers that tell what an image of `channels` shows, where, and in which colours.

    They come from the features of convolutions, their maximum and their means by place, and from the colours at a few
    places that the network chooses, as they are: a mean over all places would blur a ground.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for after, stride in _LAYERS:
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
            before = after
        self.body = nn.Sequential(*layers)
        self.looks = nn.Conv2d(before, _LOOKS, 1)
        seen = before * (1 + _PLACES**2) + 3 * _LOOKS * channels
        self.hidden = nn.Sequential(nn.Linear(seen, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())

    def forward(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """What is seen of images in [-1, 1]."""
        features = self.body(images)
        levels = F.adaptive_avg_pool2d(images / 2 + 0.5, features.shape[-2:]).flatten(2)
        looks = self.looks(features).flatten(2).softmax(dim=-1)
        colours = looks @ levels.mT
        # What tells dull hues apart are the ratios of the channels: small differences of their logarithms.
        logarithms = (colours + 1e-3).log()
        hues = _DULL * (logarithms - logarithms.mean(dim=2, keepdim=True))
        places = F.adaptive_avg_pool2d(features, _PLACES).flatten(1)
        seen = [colours * 2 - 1, logarithms + 1, hues]
        return self.hidden(torch.cat([features.amax(dim=(2, 3)), places, *(part.flatten(1) for part in seen)], dim=1))
