"""Loading of many images at once, changed at random if asked for; the one way from indices to a batch's images."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from var.data.augment import Augmentation, augment_many, split_framing
from var.data.base import ImageData
from var.data.pictures import Framing


@runtime_checkable
class ManyAtOnce(Protocol):
    """Data that give many images faster at once than one by one."""

    def load_many(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
        """The images at `indices`, bit for bit what `load` gives, in memory of their own."""
        ...


@runtime_checkable
class FramedData(Protocol):
    """Data that have whole pictures, larger or longer than the images that they give."""

    def load_framed(self, index: int, framing: Framing, generator: Generator) -> Float[Tensor, "c h w"]:
        """Like `load`, with the part of the picture that `framing` chooses instead of its centre."""
        ...


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
    if framing and isinstance(data, FramedData):
        pairs = zip(indices.tolist(), generators, strict=True)
        images = torch.stack([data.load_framed(index, framing, generator) for index, generator in pairs])
    else:
        images, rest = _load_plain(data, indices), augment
    return images if rest is None else augment_many(rest, images, generators)


def load_framed(data: ImageData, index: int, framing: Framing, generator: Generator) -> Float[Tensor, "c h w"]:
    """The part that `framing` chooses of the picture at `index`, or of the image if the data have no pictures."""
    if isinstance(data, FramedData):
        return data.load_framed(index, framing, generator)
    return framing(data.load(index), generator)


def _load_plain(data: ImageData, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "batch c h w"]:
    if isinstance(data, ManyAtOnce):
        return data.load_many(indices)
    return torch.stack([data.load(index) for index in indices.tolist()])
