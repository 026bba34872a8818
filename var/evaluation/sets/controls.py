"""Generators that know next to nothing: whatever does not beat them has not learnt more than they know."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var import checks
from var.errors import UserError
from var.randomness import keyed_generator

_RIDGE = 1e-4  # variance added to every pixel: a deviation of 0.01, one grey level of uint8, even where none varies


def gaussian_per_class(
    images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " _n"], per_class: int, seed: int
) -> Float[Tensor, "m c h w"]:
    """`per_class` draws from N(mean, covariance + 1e-4 I) of the pixels of each class, clamped to [-1, 1].

    The ridge keeps classes with fewer images than pixels, and pixels that never change, from being degenerate. Classes
    are those in `labels`, in ascending order, `per_class` images of one after the other. Raises `UserError` for a class
    of fewer than 2 images.
    """
    _check_labels(labels, len(images), per_class)
    drawn = []
    for label in labels.unique().tolist():
        pixels = images[labels == label].flatten(start_dim=1).double()
        count = len(pixels)
        if count < 2:
            raise UserError(f"a Gaussian needs at least 2 images per class, class {label} has {count}; add images")
        generator = keyed_generator("gaussian per class", seed, label)
        mean = pixels.mean(dim=0)
        # Random combinations of the deviations have exactly their covariance, so none needs to be factored.
        weights = torch.randn(per_class, count, generator=generator, dtype=torch.float64)
        noise = torch.randn(per_class, pixels.shape[1], generator=generator, dtype=torch.float64)
        values = mean + weights @ (pixels - mean) / (count - 1) ** 0.5 + _RIDGE**0.5 * noise
        drawn.append(values.clamp(-1, 1).to(images.dtype))
    return torch.cat(drawn).unflatten(1, images.shape[1:])


def token_marginals(
    token_maps: Sequence[Int64[Tensor, "n _h _w"]],
    labels: Int64[Tensor, " _n"],
    num_classes: int,
    per_class: int,
    seed: int,
) -> list[Int64[Tensor, "m _h _w"]]:
    """Token maps with every token drawn from what real images of its class have at its position, independently.

    `token_maps` are those of real images, one tensor a scale. The result holds `per_class` images of class 0, then of
    class 1, and so on; decoded, it is what a generator without any dependence between tokens could make. Raises
    `UserError` for a class without images.
    """
    _check_labels(labels, len(token_maps[0]), per_class)
    members = [torch.nonzero(labels == label).flatten() for label in range(num_classes)]
    for label, images in enumerate(members):
        if not len(images):
            raise UserError(f"token marginals need images of every class, class {label} has none; check num_classes")
    drawn = []
    for scale, tokens in enumerate(token_maps):
        places = tokens.flatten(start_dim=1)
        parts = []
        for label, images in enumerate(members):
            generator = keyed_generator("token marginals", seed, scale, label)
            chosen = torch.randint(len(images), (per_class, places.shape[1]), generator=generator)
            parts.append(places.gather(0, images[chosen]))
        drawn.append(torch.cat(parts).unflatten(1, tokens.shape[1:]))
    return drawn


def real_halves(
    images: Float[Tensor, "n c h w"], seed: int
) -> tuple[Float[Tensor, "half c h w"], Float[Tensor, "half c h w"]]:
    """Two disjoint random halves of equal size: their distance is what no generator can fall below at this size.

    Of an odd number, one image is left out. Raises `UserError` for fewer than 4 images.
    """
    if len(images) < 4:
        raise UserError(f"two halves need at least 4 images, got {len(images)}; add images")
    order = torch.randperm(len(images), generator=keyed_generator("real halves", seed))
    half = len(images) // 2
    return images[order[:half]], images[order[half : 2 * half]]


def _check_labels(labels: Tensor, count: int, per_class: int) -> None:
    if checks.argument("per_class", per_class, int) < 1:
        raise UserError(f"per_class must be at least 1, got {per_class}; raise it")
    if not isinstance(labels, Tensor):
        raise UserError(f"labels must be a tensor of integers, got {type(labels).__name__}; use torch.tensor")
    if len(labels) != count:
        raise UserError(f"each image needs one label, got {count} images and {len(labels)} labels; match them")
