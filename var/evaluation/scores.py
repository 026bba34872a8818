"""All scores of a set of samples against one reference: the same call for every kind of generator."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from var.errors import UserError, suggestion
from var.evaluation.features.extraction import (
    Array,
    FeatureExtractor,
    Features,
    Images,
    check_extractor,
    extract,
    label_logits,
    uint8_batches,
)
from var.evaluation.features.feature_store import FeatureStore
from var.evaluation.metrics.neighbours import nearest_distance
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.table import found_scores
from var.evaluation.text_judging import TextEvidence
from var.images import from_uint8

MAX_PIXELS = 3 * 64 * 64
"""Numbers of an image up to which near copies are looked for among its pixels; of larger ones among features."""


@dataclass(frozen=True)
class Scores:
    """What `evaluate` finds: `scores.fd`, `scores.recall`, and so on for each row of `var.evaluation.table`.

    A score is None where what it needs was not at hand. The distance `fd` is to be shown as `distance_name` of the
    extractor says.
    """

    samples: int  # how many were judged
    values: Mapping[str, float | None]  # by key

    def __getattr__(self, key: str) -> Any:
        values = vars(self).get("values", {})  # none yet while a copy is being made
        if key not in values:
            raise AttributeError(f"there is no score {key!r}; {suggestion(key, values)}")
        return values[key]

    def to_dict(self) -> dict[str, Any]:
        """The number of samples and all scores, fit for JSON."""
        return {"samples": self.samples, **self.values}


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
        Raises `UserError` for arrays that are not uint8 NCHW, or fewer than 2 images.
        """
        check_extractor(extractor)
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

    Raises `UserError` for arrays that are not uint8 NCHW, no images, or test images without training images.
    """
    if train_images is None:
        if test_images is not None:
            raise UserError("test images are compared with training images, got none; give both or neither")
        return None
    space, train = _points(train_images, extractor, "train_images")
    distances = None
    if test_images is not None:
        distances = nearest_distance(_points(test_images, extractor, "test_images")[1], train)
    return Neighbourhood(space=space, train=train, test_distances=distances)


def evaluate(
    samples: Images,
    reference: Reference,
    extractor: FeatureExtractor,
    *,
    labels: Sequence[int] | Array | None = None,
    text: TextEvidence | None = None,
    thorough: bool = False,
    progress: bool = False,
) -> Scores:
    """Judge uint8 NCHW `samples`; `labels` are the classes that they were asked to show, in their order.

    `text` is what a `TextJudge` says of them and their prompts.

    The samples are read once, batch by batch. A `thorough` evaluation finds every number of `Scores`: what many
    settings of a sampler are compared by does not need all of them. `progress` shows a bar. Raises `UserError` for
    arrays that are not uint8 NCHW, too few samples, NaN features, labels that do not fit, or a reference that another
    network made.
    """
    if not isinstance(reference, Reference):
        raise UserError(
            f"samples are judged against a Reference, got {type(reference).__name__}; use Reference.from_images"
        )
    check_extractor(extractor)
    if extractor.digest != reference.digest:
        raise UserError(
            f"samples and reference must be seen by one network, got {extractor.digest[:12]} and "
            f"{reference.digest[:12]}; make the reference again with this extractor"
        )
    extracted = extract_samples(samples, reference, extractor, progress=progress)
    logits = label_logits(extractor, extracted.features)
    if labels is not None and logits is None:
        raise UserError(
            f"class consistency needs logits of the labels' classes, {extractor.name} gives none; leave the labels out"
        )
    return score(extracted, reference, labels=labels, class_logits=logits, text=text, thorough=thorough)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extracted:
    """Samples as the extractor sees them, and as points of the space in which copies are looked for."""

    features: Features
    points: Float[Tensor, "n dimensions"]

    def __getitem__(self, kept: Int64[Tensor, " kept"]) -> "Extracted":
        parts = {key: None if part is None else part[kept] for key, part in vars(self.features).items()}
        return Extracted(features=Features(**parts), points=self.points[kept])  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All that a score may be found from; None is what is not at hand."""

    features: Float[Tensor, "n dimensions"]  # of the samples
    statistics: Statistics
    spatial_statistics: Statistics | None
    logits: Float[Tensor, "n classes"] | None
    labels: Sequence[int] | Array | None  # the classes that the samples were asked to show
    class_logits: Float[Tensor, "n classes_of_labels"] | None  # class i is label i
    real_features: Float[Tensor, "m dimensions"] | None
    real_statistics: Statistics
    real_spatial_statistics: Statistics | None
    train_distances: Float64[np.ndarray, " n"] | None  # of each sample to its nearest training image
    test_distances: Float64[np.ndarray, " k"] | None  # of each real test image
    text: TextEvidence | None = None  # of samples that were asked for in words


def extract_samples(
    samples: Images,
    reference: Reference,
    extractor: FeatureExtractor,
    *,
    progress: bool = False,
    total: int | None = None,
) -> Extracted:
    """All that scoring `samples` needs, from one pass over them; raises `UserError` as `evaluate` does."""
    near = reference.neighbourhood
    if near is None or near.space == "features":
        found = extract(samples, extractor, name="samples", progress=progress, total=total)
        return Extracted(features=found, points=found.features)
    with FeatureStore() as pixels:
        found = extract(_kept(samples, pixels), extractor, name="samples", progress=progress, total=total)
        return Extracted(features=found, points=pixels.rows())


def score(
    extracted: Extracted,
    reference: Reference,
    *,
    labels: Sequence[int] | Array | None = None,
    class_logits: Float[Tensor, "n classes"] | None = None,
    text: TextEvidence | None = None,
    thorough: bool = False,
) -> Scores:
    """The numbers of `evaluate`, of samples whose features are extracted; raises `UserError` as it does.

    Class i of `class_logits` is label i; class consistency is None without them.
    """
    found, near = extracted.features, reference.neighbourhood
    evidence = Evidence(
        features=found.features,
        statistics=Statistics.from_features(found.features, name="samples' features"),
        spatial_statistics=Statistics.from_features(found.spatial) if thorough and found.spatial is not None else None,
        logits=found.logits,
        labels=labels,
        class_logits=class_logits,
        real_features=reference.features,
        real_statistics=reference.statistics,
        real_spatial_statistics=reference.spatial,
        train_distances=None if near is None else nearest_distance(extracted.points, near.train),
        test_distances=None if near is None else near.test_distances,
        text=text,
    )
    return Scores(samples=len(found.features), values=found_scores(evidence, thorough=thorough))


def _kept(images: Images, store: FeatureStore) -> Iterator[Tensor]:
    """The batches, whose pixels are stored as they pass."""
    for batch in uint8_batches(images, name="samples"):
        store.add(from_uint8(batch).flatten(start_dim=1))
        yield batch


def _points(images: Images, extractor: FeatureExtractor, name: str) -> tuple[str, Float[Tensor, "n dimensions"]]:
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
