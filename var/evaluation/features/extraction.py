"""What a network says about images: features and logits, and the checks that every metric makes on them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from var.errors import UserError
from var.evaluation.features.feature_store import FeatureStore

Array = np.ndarray | Tensor
"""What every metric takes; sizes are in the docstrings, because bad ones get an error of ours."""

Images = Array | Iterable[Array]
"""uint8 NCHW images in 0..255: one array of all, or an iterable of batches."""

BATCH = 500  # images in one call of the extractor, when they come as one array


@dataclass(frozen=True, kw_only=True)
class Features:
    """What an extractor makes of a batch: penultimate features, and logits where it is a classifier."""

    features: Float[Tensor, "batch dimensions"]
    logits: Float[Tensor, "batch classes"] | None = None  # class i is label i, but for extractors of `own_classes`
    spatial: Float[Tensor, "batch places"] | None = None  # of an inner map, in which sFID is measured


class FeatureExtractor(Protocol):
    """A network that judges; a distance in its features is called `FD-{name}`."""

    @property
    def name(self) -> str:
        """A short word for tables, for example `digits`."""
        ...

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights: scores compare only where it is equal."""
        ...

    def __call__(self, images: UInt8[Tensor, "batch c h w"]) -> Features:
        """Features of a batch; each row depends on its own image only."""
        ...


def check_extractor(given: object) -> None:
    """Raise `UserError` for what is no `FeatureExtractor`."""
    if not callable(given) or not all(isinstance(getattr(given, name, None), str) for name in ("name", "digest")):
        raise UserError(
            f"an extractor is called with images and has a name and a digest, got {type(given).__name__}; see "
            "var.evaluation.FeatureExtractor"
        )


def label_logits(extractor: FeatureExtractor, found: Features) -> Float[Tensor, "n classes"] | None:
    """Logits in which class i is label i; None where the extractor has none, or (`own_classes`) another order."""
    return None if getattr(extractor, "own_classes", False) else found.logits


def extract(
    images: Images,
    extractor: FeatureExtractor,
    *,
    name: str = "images",
    progress: bool = False,
    total: int | None = None,
) -> Features:
    """Features of all images, in their order, on the CPU; they lie in a file that is mapped into memory.

    `progress` shows a bar of images, up to `total` where that is known. Raises `UserError` for an array that is not
    uint8 NCHW (`name` says whose), images of several sizes, or fewer than 2 images.
    """
    if isinstance(images, Array) and images.ndim:
        total = len(images)
    bar = tqdm(total=total, desc=f"features of {name}", unit="image", disable=not progress)
    with ExitStack() as opened, bar:
        stores = {field.name: opened.enter_context(FeatureStore()) for field in fields(Features)}
        count = 0
        for batch in uint8_batches(images, name=name):
            part = {key: rows for key, rows in vars(extractor(batch)).items() if rows is not None}
            stores = {key: store for key, store in stores.items() if key in part}
            for key, store in stores.items():
                store.add(part[key])
            count += len(batch)
            bar.update(len(batch))
        if count < 2:
            raise UserError(f"{name} must hold at least 2 images, got {count}; a distribution needs more than one")
        return Features(**{key: store.rows() for key, store in stores.items()})


def uint8_batches(images: Images, *, name: str = "images") -> Iterator[UInt8[Tensor, "batch c h w"]]:
    """The checked, non-empty batches of `images`; one array is cut into batches."""
    if isinstance(images, Array) and not images.ndim:
        raise UserError(f"{name} must be (batch, channels, height, width), got a single number; give images")
    if isinstance(images, Array):
        images = [images[start : start + BATCH] for start in range(0, max(len(images), 1), BATCH)]
    elif not isinstance(images, Iterable) or isinstance(images, str | bytes | Mapping):
        raise UserError(f"{name} must be uint8 NCHW arrays, got {type(images).__name__}; give batches of images")
    shape: tuple[int, ...] | None = None
    for batch in images:
        if not isinstance(batch, Array):
            raise UserError(f"{name} must be uint8 NCHW arrays, got {type(batch).__name__}; give batches of images")
        if str(batch.dtype).removeprefix("torch.") != "uint8":
            raise UserError(f"{name} must be uint8 in 0..255, got {batch.dtype}; use var.images.to_uint8")
        # What is turned around or may not be written is copied: torch takes neither.
        tensor = batch if isinstance(batch, Tensor) else torch.from_numpy(np.require(batch, requirements=["C", "W"]))
        if tensor.ndim != 4:
            raise UserError(f"{name} must be (batch, channels, height, width), got {tuple(tensor.shape)}; add the axes")
        if tensor.shape[1] not in (1, 2, 3, 4) and tensor.shape[3] in (1, 3, 4):
            raise UserError(f"{name} must be NCHW, got {tuple(tensor.shape)}, which looks like NHWC; permute the axes")
        shape = tuple(tensor.shape[1:]) if shape is None else shape
        if tuple(tensor.shape[1:]) != shape:
            raise UserError(
                f"{name} must have one shape, got {tuple(tensor.shape[1:])} after {shape}; resize or crop them alike"
            )
        if len(tensor):
            yield tensor


def feature_rows(values: Array, *, name: str, minimum: int = 0) -> Float64[np.ndarray, "n dimensions"]:
    """The set as float64 rows, on the CPU.

    Raises `UserError`, which says `name`, for other axes, fewer than `minimum` rows, or NaN/Inf.
    """
    rows = _rows(values, name=name, minimum=minimum)
    usable = np.logical_and.reduce(np.isfinite(rows), axis=1)
    _check_rows(usable, name=name, rule="finite", found="NaN or Inf")
    return rows


def own_feature_rows(
    *sets: Array, names: tuple[str, str] = ("real", "fake"), minimum: tuple[int, int] = (2, 2)
) -> list[Float64[np.ndarray, "_n _dimensions"]]:
    """`feature_rows` of two sets in one space, never the caller's memory: for changes in place, without second copies.

    Raises `UserError` for different dimensions, and as `feature_rows` does.
    """
    found = []
    for values, name, least in zip(sets, names, minimum, strict=True):
        rows = feature_rows(values, name=name, minimum=least)
        shared = isinstance(values, Array) and values.dtype in (torch.float64, np.float64)
        found.append(rows.copy() if shared else rows)  # what needs no conversion is not copied
    a, b = (rows.shape[1] for rows in found)
    if a != b:
        raise UserError(
            f"{names[0]} and {names[1]} must have the same dimensions, got {a} and {b}; "
            f"use the same extractor, or images of the same size, for both"
        )
    return found


def feature_chunks(values: Array, *, name: str, rows: int) -> Iterator[Float64[np.ndarray, "_n _dimensions"]]:
    """The set as runs of `rows` float64 rows, at least one run, so that only one is held; raises as `feature_rows`."""
    values = plain_rows(values, name=name)
    for start in range(0, max(len(values), 1), rows):
        yield feature_rows(values[start : start + rows], name=name)


def logit_rows(values: Array, *, name: str, minimum: int = 0) -> Float64[np.ndarray, "n classes"]:
    """Like `feature_rows`; -inf is allowed as the logit of a probability of zero, but not in a whole row."""
    rows = _rows(values, name=name, minimum=minimum)
    # The largest is NaN where any is, and -inf where all are.
    usable = np.isfinite(np.maximum.reduce(rows, axis=1))
    _check_rows(usable, name=name, rule="finite or -inf", found="NaN, +Inf or only -Inf")
    return rows


def plain_rows(values: Array, *, name: str) -> Array:
    """A set as an array of numbers with 2 axes; nested lists are one too. Raises `UserError`, which says `name`."""
    try:
        found = values if isinstance(values, Array) else np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name} must be rows of one length, got {type(values).__name__}; give an array") from error
    if isinstance(found, np.ndarray) and found.dtype.kind not in "fiub":
        raise UserError(f"{name} must be real numbers, got {found.dtype}; give an array of floats")
    if isinstance(found, Tensor) and found.is_complex():
        raise UserError(f"{name} must be real numbers, got {found.dtype}; give a tensor of floats")
    if found.ndim != 2 or found.shape[1] == 0:
        raise UserError(
            f"{name} must be (n, dimensions >= 1), got {tuple(found.shape)}; for one dimension pass values[:, None]"
        )
    return found


def _rows(values: Array, *, name: str, minimum: int) -> Float64[np.ndarray, "n dimensions"]:
    values = plain_rows(values, name=name)
    if isinstance(values, Tensor):
        # bfloat16 is unknown to numpy, so the cast comes first.
        rows = values.detach().to("cpu", torch.float64).numpy()
    else:
        rows = np.asarray(values, dtype=np.float64)
    if len(rows) < minimum:
        raise UserError(f"{name} must hold at least {minimum} rows, got {len(rows)}; use more samples")
    return rows


def _check_rows(good: Bool[np.ndarray, " n"], *, name: str, rule: str, found: str) -> None:
    if not good.all():
        raise UserError(
            f"{name} must be {rule}, got {found} in {int((~good).sum())} of {len(good)} rows "
            f"(the first is row {int(good.argmin())}); check the images and the network that they come from"
        )


def check_uint8(images: Tensor, judge: str) -> None:
    """Raise `UserError` unless these are what the network called `judge` takes: others would give other features."""
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
        found = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise UserError(
            f"{judge} judges a uint8 tensor (batch, channels, height, width), got {found}; use var.images.to_uint8"
        )


def check_rgb(images: UInt8[Tensor, "batch c h w"], judge: str) -> None:
    """Raise `UserError` unless the images are uint8 with 3 channels, as the network called `judge` needs."""
    check_uint8(images, judge)
    if images.shape[1] != 3:
        raise UserError(
            f"{judge} judges RGB images of 3 channels, got {images.shape[1]}; repeat the grey channel if you must"
        )
