"""The vectors that users ask a pipeline to show, with one meaning in both paradigms."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from var.conditions import is_dense
from var.errors import UserError, first_line
from var.names import received
from var.sampling.finite import check_finite
from var.text.encoders import TextFeatures
from var.typed import length

Vectors = np.ndarray | Tensor | Sequence[Any] | TextFeatures | None
"""A vector for each image, (n, width), or one for all of them, (width,), or those of texts; None for no vectors."""


MOST_AXES = 8
"""That are told of nested lists, which may hold themselves."""


def count_vectors(vectors: Vectors) -> int | None:
    """For how many images there is a vector; None for none, one for all images, and what is refused later."""
    shape = shape_of(vectors)
    return shape[0] if len(shape) == 2 else None


def resolve_vectors(vectors: Vectors, count: int, width: int) -> Float[Tensor, "batch width"]:
    """The vectors of `count` images in float32, on the device where they are.

    Raises `UserError` for vectors of another `width` or number, and for what is not finite or no numbers at all.
    """
    vectors = _numbers(vectors)
    if _is_list(vectors) and not (_has_shape(vectors, (width,)) or _has_shape(vectors, (count, width))):
        first = shape_of(vectors)  # told before numpy writes out what may be endless
        fits = first in ((width,), (count, width))
        found = "list (of different lengths)" if fits else f"shape {received(first or (length(vectors),))}"
        raise _wrong_shape(width, count, found)
    if isinstance(vectors, Tensor) and (vectors.is_meta or vectors.is_nested):
        raise _wrong_shape(width, count, "a tensor without values" if vectors.is_meta else "a nested tensor")
    try:
        given = vectors.detach().to_dense() if isinstance(vectors, Tensor) else _from_numpy(np.array(vectors))
    except (TypeError, ValueError, RuntimeError) as error:  # texts, objects, odd kinds of tensors
        raise _wrong_shape(width, count, f"{type(vectors).__name__} ({first_line(error)})") from error
    if given.shape not in ((width,), (count, width)):
        raise _wrong_shape(width, count, f"shape {tuple(given.shape)}")
    given = _real(given)
    check_finite(given, "vectors must be finite numbers in float32", "correct them")
    return given.expand(count, width).clone()


def resolve_sequence(
    sequence: Any, mask: Any, count: int, width: int | None = None
) -> tuple[Float[Tensor, "batch length width"], Bool[Tensor, "batch length"] | None]:
    """A sequence of features for each of `count` images and the mask of what is no padding, in their type and memory.

    Raises `UserError` for another number or `width`, and for what is not finite or no floats, beside a mask of bools.
    """
    sequence, mask = (torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in (sequence, mask))
    shape = tuple(sequence.shape) if is_dense(sequence) else ()
    wanted = (count, *shape[1:2], shape[-1] if shape and width is None else width)
    floats = is_dense(sequence) and sequence.is_floating_point() and sequence.dtype.itemsize > 1
    if not floats or shape != wanted or len(shape) != 3:
        found = f"{sequence.dtype} {shape}" if is_dense(sequence) else type(sequence).__name__
        expected = f"({count}, length, {width or 'width'})"
        raise UserError(f"a sequence must be floats {expected}, one for each image, got {found}; match them")
    if mask is not None and not (is_dense(mask) and mask.dtype == torch.bool and mask.shape == shape[:2]):
        found = f"{mask.dtype} {tuple(mask.shape)}" if is_dense(mask) else type(mask).__name__
        raise UserError(
            f"a sequence's mask must be bools {shape[:2]}, True where it is no padding, got {found}; match it"
        )
    check_finite(sequence, "a sequence must be finite numbers, its padding too", "correct them")
    return sequence.detach(), mask


def shape_of(vectors: Vectors) -> tuple[int, ...]:
    """The shape of an array, or that which the first of nested lists have."""
    vectors = _numbers(vectors)
    if isinstance(vectors, np.ndarray | Tensor):
        return () if isinstance(vectors, Tensor) and vectors.is_nested else tuple(vectors.shape)
    shape = []
    while _is_list(vectors) and len(shape) < MOST_AXES:
        shape.append(length(vectors))
        vectors = vectors[0] if shape[-1] else None
    return tuple(shape) if vectors is not None else ()


def _real(vectors: Tensor) -> Tensor:
    rule = f"vectors must be real numbers, got {vectors.dtype}; convert them"
    if vectors.is_complex() or vectors.dtype == torch.bool:
        raise UserError(rule)
    try:
        return vectors.to(torch.float32)
    except RuntimeError as error:  # quantized, and other types of few uses
        raise UserError(rule) from error


def _is_list(values: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(values, Sequence) and not isinstance(values, str | bytes)


def _has_shape(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether nested lists, with numbers or arrays in them, have just this shape."""
    if not _is_list(values):
        return tuple(getattr(values, "shape", ())) == shape
    return bool(shape) and length(values) == shape[0] and all(_has_shape(each, shape[1:]) for each in values)


def _numbers(vectors: Vectors) -> np.ndarray | Tensor | Sequence[Any] | None:
    return vectors.vectors if isinstance(vectors, TextFeatures) else vectors


def _from_numpy(vectors: np.ndarray) -> Tensor:
    return torch.from_numpy(vectors.astype(vectors.dtype.newbyteorder("=")))  # torch knows no other order


def _wrong_shape(width: int, count: int, found: str) -> UserError:
    return UserError(
        f"vectors must be ({width},), one for all images, or ({count}, {width}), one for each of {count}, got {found}; "
        "pass those of the encoder that the model was trained with"
    )
