"""All scores of a set of samples against one reference: the same call for every kind of generator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from var.errors import UserError
from var.evaluation.features.extraction import (
    Array,
    FeatureExtractor,
    Features,
    Images,
    extract,
    label_logits,
    uint8_batches,
)
from var.evaluation.features.feature_store import FeatureStore
from var.evaluation.metrics.frechet import frechet_distance
from var.evaluation.metrics.inception_score import inception_score, sharpness_and_diversity
from var.evaluation.metrics.infinity import frechet_infinity
from var.evaluation.metrics.kernel import kernel_distance
from var.evaluation.metrics.memorization import compare_nearest
from var.evaluation.metrics.neighbours import density_coverage, nearest_distance, precision_recall
from var.evaluation.metrics.statistics import Statistics
from var.images import from_uint8

MAX_PIXELS = 3 * 64 * 64
"""Numbers of an image up to which near copies are looked for among its pixels; of larger ones among features."""


SUBSET = 1000  # rows of a subset for the kernel distance as published


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `evaluate` finds. The distance is to be shown as `distance_name` of the extractor says."""

    samples: int  # how many were judged
    fd: float  # Frechet distance to the reference, >= 0
    kd: float | None  # kernel distance over all pairs, unbiased; this and the next need the reference's features
    inception_score: float | None  # of one split: sharpness * diversity; None without logits
    sharpness: float | None  # exp(-mean entropy of the predictions), at most 1
    diversity: float | None  # exp(entropy of the mean prediction), at most the number of classes
    precision: float | None  # share of samples among the reference, in [0, 1]
    recall: float | None  # share of the reference among the samples, in [0, 1]
    class_consistency: float | None  # share predicted as the class that was asked for; None where nothing tells it
    nearest_train_distance: float | None  # median, Euclidean; None without training images
    closer_share: float | None = None  # chance to lie nearer to a training image than a real test image; 0.5 is right
    # Of a thorough evaluation only:
    sfd: float | None = None  # Frechet distance of an inner map of the network (sFID)
    fd_infinity: float | None = None  # the distance of infinitely many samples, by extrapolation
    fd_infinity_error: float | None = None
    fd_infinity_slope: float | None = None
    kd_subsets: float | None = None  # mean of 100 subsets of 1000, as published; None of sets below 2000
    inception_score_splits: float | None = None  # mean of 10 splits of shuffled samples, as published
    density: float | None = None
    coverage: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhood:
    """The training images, and how near real test images lie to them."""

    space: str  # "pixels" in [-1, 1], or "features"
    train: Float[Tensor, "m dimensions"]
    test_distances: Float64[np.ndarray, " k"] | None  # of each test image to its nearest training image


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The real images as an extractor sees them, computed once for all sets that are judged against them."""

    features: Float[Tensor, "n dimensions"] | None  # None where only their statistics are known
    statistics: Statistics
    digest: str  # of the extractor
    spatial: Statistics | None = None  # of the inner map of sFID
    neighbourhood: Neighbourhood | None = None

    @classmethod
    def from_images(
        cls,
        images: Images,
        extractor: FeatureExtractor,
        *,
        train_images: Images | None = None,
        test_images: Images | None = None,
    ) -> "Reference":
        """The reference set, and the training images in which near copies of samples are looked for; uint8 NCHW.

        `test_images` are real ones that nobody trained on: how near they lie is what to expect of honest samples.

        Raises:
            UserError: arrays that are not uint8 NCHW, or fewer than 2 images.
        """
        found = extract(images, extractor, name="reference images")
        return cls(
            features=found.features,
            statistics=Statistics.from_features(found.features, name="reference features"),
            digest=extractor.digest,
            spatial=None if found.spatial is None else Statistics.from_features(found.spatial),
            neighbourhood=neighbourhood(train_images, extractor, test_images=test_images),
        )


def neighbourhood(
    train_images: Images | None, extractor: FeatureExtractor, *, test_images: Images | None = None
) -> Neighbourhood | None:
    """Where near copies are looked for: among the pixels of small training images, among the features of large ones.

    Raises:
        UserError: arrays that are not uint8 NCHW, no images, or test images without training images.
    """
    if train_images is None:
        if test_images is not None:
            raise UserError("test images are compared with training images, got none; give both or neither")
        return None
    space, train = _places(train_images, extractor, "train_images")
    if test_images is None:
        return Neighbourhood(space=space, train=train, test_distances=None)
    _, test = _places(test_images, extractor, "test_images")
    return Neighbourhood(space=space, train=train, test_distances=nearest_distance(test, train))


def evaluate(
    samples: Images,
    reference: Reference,
    extractor: FeatureExtractor,
    *,
    labels: Sequence[int] | Array | None = None,
    thorough: bool = False,
    progress: bool = False,
) -> Scores:
    """Judge uint8 NCHW `samples`; `labels` are the classes that they were asked to show, in their order.

    The samples are read once, batch by batch. A `thorough` evaluation finds every number of `Scores`: what many
    settings of a sampler are compared by does not need all of them. `progress` shows a bar.

    Raises:
        UserError: arrays that are not uint8 NCHW, too few samples, NaN features, labels that do not fit, or a reference
            that another network made.
    """
    if extractor.digest != reference.digest:
        raise UserError(
            f"samples and reference must be seen by one network, got {extractor.digest[:12]} and "
            f"{reference.digest[:12]}; make the reference again with this extractor"
        )
    seen = look(samples, reference, extractor, progress=progress)
    logits = label_logits(extractor, seen.features)
    if labels is not None and logits is None:
        raise UserError(
            f"class consistency needs logits of the labels' classes, {extractor.name} gives none; leave the labels out"
        )
    return score(seen, reference, labels=labels, class_logits=logits, thorough=thorough)


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Samples as the extractor sees them, and as points of the space in which copies are looked for."""

    features: Features
    places: Float[Tensor, "n dimensions"]

    def __getitem__(self, kept: Int64[Tensor, " kept"]) -> "Seen":
        parts = (self.features.features, self.features.logits, self.features.spatial)
        features, logits, spatial = (None if part is None else part[kept] for part in parts)
        assert features is not None  # only the other two are optional
        return Seen(features=Features(features=features, logits=logits, spatial=spatial), places=self.places[kept])


def look(
    samples: Images,
    reference: Reference,
    extractor: FeatureExtractor,
    *,
    progress: bool = False,
    total: int | None = None,
) -> Seen:
    """All that scoring `samples` needs, from one pass over them; raises `UserError` as `evaluate` does."""
    near = reference.neighbourhood
    if near is None or near.space == "features":
        found = extract(samples, extractor, name="samples", progress=progress, total=total)
        return Seen(features=found, places=found.features)
    with FeatureStore() as pixels:
        found = extract(_kept(samples, pixels), extractor, name="samples", progress=progress, total=total)
        return Seen(features=found, places=pixels.rows())


def score(
    seen: Seen,
    reference: Reference,
    *,
    labels: Sequence[int] | Array | None = None,
    class_logits: Float[Tensor, "n classes"] | None = None,
    thorough: bool = False,
) -> Scores:
    """The numbers of `evaluate`, of samples that the extractor has seen; raises `UserError` as it does.

    Class i of `class_logits` is label i; class consistency is None without them.
    """
    found = seen.features
    statistics = Statistics.from_features(found.features, name="samples' features")
    scores = Scores(
        samples=len(found.features),
        fd=frechet_distance(reference.statistics, statistics),
        class_consistency=None if labels is None or class_logits is None else _consistency(class_logits, labels),
        **_sample_pairs(reference.features, found.features),
        **_predictions(found.logits),
        **_nearest(seen.places, reference.neighbourhood),
    )
    return replace(scores, **_thorough(reference, found, scores.samples)) if thorough else scores


def _sample_pairs(real: Tensor | None, fake: Tensor) -> dict[str, Any]:
    if real is None:
        return {"kd": None, "precision": None, "recall": None}
    precision, recall = precision_recall(real, fake)
    return {"kd": kernel_distance(real, fake), "precision": precision, "recall": recall}


def _predictions(logits: Tensor | None) -> dict[str, Any]:
    if logits is None:
        return {"inception_score": None, "sharpness": None, "diversity": None}
    sharpness, diversity = sharpness_and_diversity(logits)
    score, _ = inception_score(logits, splits=1, seed=None)
    return {"inception_score": score, "sharpness": sharpness, "diversity": diversity}


def _nearest(places: Tensor, near: Neighbourhood | None) -> dict[str, Any]:
    if near is None:
        return {"nearest_train_distance": None}
    distances = nearest_distance(places, near.train)
    if near.test_distances is None:
        return {"nearest_train_distance": float(np.median(distances))}
    compared = compare_nearest(distances, near.test_distances)
    return {"nearest_train_distance": compared.median, "closer_share": compared.closer_share}


def _thorough(reference: Reference, found: Features, count: int) -> dict[str, Any]:
    """What takes longer, of the sizes that published numbers have, or of what there is."""
    scores: dict[str, Any] = {}
    if count > 2:
        line = frechet_infinity(reference.statistics, found.features)
        scores |= {"fd_infinity": line.value, "fd_infinity_error": line.error, "fd_infinity_slope": line.slope}
    if reference.spatial is not None and found.spatial is not None:
        scores["sfd"] = frechet_distance(reference.spatial, Statistics.from_features(found.spatial))
    if found.logits is not None:
        scores["inception_score_splits"], _ = inception_score(found.logits, splits=min(10, count))
    if reference.features is not None:
        if min(len(reference.features), count) >= 2 * SUBSET:
            subsets = kernel_distance(reference.features, found.features, subset_size=SUBSET)
            assert isinstance(subsets, tuple)  # subsets give a pair of numbers
            scores["kd_subsets"] = subsets[0]
        k = min(5, len(reference.features) - 1)
        scores["density"], scores["coverage"] = density_coverage(reference.features, found.features, k=k)
    return scores


def _kept(images: Images, store: FeatureStore) -> Iterator[Tensor]:
    """The batches, whose pixels are stored as they pass."""
    for batch in uint8_batches(images, name="samples"):
        store.add(from_uint8(batch).flatten(start_dim=1))
        yield batch


def _places(images: Images, extractor: FeatureExtractor, name: str) -> tuple[str, Float[Tensor, "n dimensions"]]:
    """Pixels of small images, features of large ones."""
    batches = uint8_batches(images, name=name)
    first = next(batches, None)
    if first is None:
        raise UserError(f"{name} must hold at least one image to be near to, got none; leave them out")
    in_pixels = first[0].numel() <= MAX_PIXELS
    with FeatureStore() as store:
        for batch in chain([first], batches):
            store.add(from_uint8(batch).flatten(start_dim=1) if in_pixels else extractor(batch).features)
        return ("pixels" if in_pixels else "features"), store.rows()


def _consistency(logits: Float[Tensor, "n classes"], labels: Sequence[int] | Array) -> float:
    wanted = _checked_labels(labels, count=len(logits), classes=logits.shape[1])
    return (logits.argmax(dim=1) == wanted).double().mean().item()


def _checked_labels(labels: Sequence[int] | Array, *, count: int, classes: int) -> Int64[Tensor, " n"]:
    given = torch.as_tensor(np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels))
    if given.shape != (count,) or given.is_floating_point():
        raise UserError(f"labels must be {count} integers, one a sample, got {tuple(given.shape)} of {given.dtype}")
    if count and not 0 <= int(given.min()) <= int(given.max()) < classes:
        raise UserError(
            f"labels must be from 0 to {classes - 1}, got {int(given.min())} to {int(given.max())}; "
            f"use the classes of the extractor"
        )
    return given.to(torch.int64)
