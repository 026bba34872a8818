"""Loading of many images at once, changed at random if asked for; the one way from indices to a batch's images."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from var.data.augment import Augmentation, augment_many, split_framing
from var.data.base import ImageData
from var.data.pictures import Framing


def load_images(
    data: ImageData,
    indices: Int64[Tensor, " batch"],
    augment: Augmentation | None = None,
    stream: Callable[[int], Generator] | None = None,
) -> Float[Tensor, "batch c h w"]:
    """The images at `indices`, in memory of their own, each changed by `augment` with the generator `stream(index)`."""
    if augment is None:
        return _load_plain(data, indices)
    assert stream is not None
    generators = [stream(index) for index in indices.tolist()]
    framing, rest = split_framing(augment)
    if framing and hasattr(data, "load_framed"):
        pairs = zip(indices.tolist(), generators, strict=True)
        images = torch.stack([load_framed(data, index, framing, generator) for index, generator in pairs])
    else:
        images, rest = _load_plain(data, indices), augment
    return images if rest is None else augment_many(rest, images, generators)


def load_framed(data: ImageData, index: int, framing: Framing, generator: Generator) -> Float[Tensor, "c h w"]:
    """The part that `framing` chooses of the picture at `index`, or of the image if the data have no pictures."""
    own = getattr(data, "load_framed", None)
    return own(index, framing, generator) if own else framing(data.load(index), generator)


def _load_plain(data: ImageData, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
    many = getattr(data, "load_many", None)
    return many(indices) if many else torch.stack([data.load(index) for index in indices.tolist()])
