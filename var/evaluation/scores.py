"""All scores of a set of samples against one reference: the same call for every kind of generator."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.errors import UserError
from var.evaluation.features import Array, FeatureExtractor, Features, Images, extract, uint8_batches
from var.evaluation.frechet import frechet_distance
from var.evaluation.inception import inception_score, sharpness_and_diversity
from var.evaluation.kernel import kernel_distance
from var.evaluation.neighbours import nearest_distance, precision_recall
from var.evaluation.statistics import Statistics
from var.images import from_uint8


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `evaluate` finds. The distance is to be shown as `FD-{extractor.name}`."""

    samples: int  # how many were judged
    fd: float  # Frechet distance to the reference, >= 0
    kd: float  # kernel distance over all pairs, unbiased
    inception_score: float | None  # of one split: sharpness * diversity; None without logits
    sharpness: float | None  # exp(-mean entropy of the predictions), at most 1
    diversity: float | None  # exp(entropy of the mean prediction), at most the number of classes
    precision: float  # share of samples among the reference, in [0, 1]
    recall: float  # share of the reference among the samples, in [0, 1]
    class_consistency: float | None  # share predicted as the class that was asked for; None without labels
    nearest_train_distance: float | None  # median, Euclidean, in [-1, 1] pixels; None without training images


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The real images as an extractor sees them, computed once for all sets that are judged against them."""

    features: Float[Tensor, "n dimensions"]
    statistics: Statistics
    digest: str  # of the extractor
    train_pixels: Float[Tensor, "m pixels"] | None = None  # [-1, 1]

    @classmethod
    def from_images(
        cls, images: Images, extractor: FeatureExtractor, *, train_images: Images | None = None
    ) -> "Reference":
        """The reference set, and the training images in which near copies of samples are looked for; uint8 NCHW.

        Raises:
            UserError: arrays that are not uint8 NCHW, or fewer than 2 images.
        """
        features = extract(images, extractor, name="reference images").features
        return cls(
            features=features,
            statistics=Statistics.from_features(features, name="reference features"),
            digest=extractor.digest,
            train_pixels=None if train_images is None else _pixels(train_images),
        )


def evaluate(
    samples: Images,
    reference: Reference,
    extractor: FeatureExtractor,
    *,
    labels: Sequence[int] | Array | None = None,
) -> Scores:
    """Judge uint8 NCHW `samples`; `labels` are the classes that they were asked to show, in their order.

    Raises:
        UserError: arrays that are not uint8 NCHW, too few samples, NaN features, labels that do not fit, or a reference
            that another network made.
    """
    if extractor.digest != reference.digest:
        raise UserError(
            f"samples and reference must be seen by one network, got {extractor.digest[:12]} and "
            f"{reference.digest[:12]}; make the reference again with this extractor"
        )
    if not isinstance(samples, Array):
        samples = list(samples)  # they are read twice: by the network and as pixels
    found = extract(samples, extractor, name="samples")
    statistics = Statistics.from_features(found.features, name="samples' features")
    precision, recall = precision_recall(reference.features, found.features)
    factors = None if found.logits is None else sharpness_and_diversity(found.logits)
    return Scores(
        samples=len(found.features),
        fd=frechet_distance(reference.statistics, statistics),
        kd=_all_pairs(reference.features, found.features),
        inception_score=None if found.logits is None else inception_score(found.logits, splits=1, seed=None)[0],
        sharpness=None if factors is None else factors[0],
        diversity=None if factors is None else factors[1],
        precision=precision,
        recall=recall,
        class_consistency=None if labels is None else _consistency(found, labels),
        nearest_train_distance=_median_nearest(samples, reference.train_pixels),
    )


def _all_pairs(real: Tensor, fake: Tensor) -> float:
    distance = kernel_distance(real, fake)
    assert isinstance(distance, float)  # a pair of numbers comes only from subsets
    return distance


def _consistency(found: Features, labels: Sequence[int] | Array) -> float:
    if found.logits is None:
        raise UserError("class consistency needs logits, the extractor gives none; leave the labels out")
    wanted = _checked_labels(labels, count=len(found.logits), classes=found.logits.shape[1])
    return (found.logits.argmax(dim=1) == wanted).double().mean().item()


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


def _median_nearest(samples: Images, train_pixels: Float[Tensor, "m pixels"] | None) -> float | None:
    if train_pixels is None:
        return None
    return float(np.median(nearest_distance(_pixels(samples), train_pixels)))


def _pixels(images: Images) -> Float[Tensor, "n pixels"]:
    batches = [from_uint8(batch.cpu()).flatten(start_dim=1) for batch in uint8_batches(images)]
    if not batches:
        raise UserError("the nearest training image needs at least one, got none; leave train_images out")
    return torch.cat(batches)
