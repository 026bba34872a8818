"""Whether images are copies: the nearest training image of each, held to what images nobody trained on have."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from var.data import open_data

MOST = 20_000
"""Images of the training set that are looked at, for the sake of memory."""


@dataclass(frozen=True, slots=True)
class Known:
    """Training images, and how near unseen real images come to one of them."""

    train: Float[Tensor, "n c h w"]
    unseen: Float[Tensor, " m"]  # distances, sorted

    def nearest(self, images: Float[Tensor, "batch c h w"]) -> tuple[Tensor, Tensor]:
        """(nearest training images, distances): the root of the mean squared difference of values in [-1, 1]."""
        return _nearest(images, self.train)

    def nearer_share(self, distance: float) -> float:
        """The share of unseen real images that lie nearer to a training image than this."""
        return float((self.unseen < distance).float().mean())


@lru_cache(maxsize=2)
def known(data: str, shape: tuple[int, int, int]) -> Known:
    """The training images called `data`; raises `UserError` where they cannot be opened."""
    size = {"size": shape[1:], "channels": shape[0]}
    train, test = (_images(open_data(data, split=split, **size)) for split in ("train", "test"))
    return Known(train, _nearest(test[:200], train)[1].sort().values)


def _images(data) -> Tensor:
    places = torch.linspace(0, len(data) - 1, min(len(data), MOST)).long()
    return data.load_many(places)


def _nearest(images: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    values = images[0].numel()
    distances = torch.cdist(images.flatten(1), train.flatten(1)) / values**0.5
    smallest, places = distances.min(1)
    return train[places], smallest
