"""The table of all scores: how each is called, shown and read, what it needs, and how it is found.

A new metric is its mathematics, in `var.evaluation.metrics`, and a row here. `evaluate`, the reports, their differences
and the comparison of both paradigms read this table.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

from var.evaluation import metrics
from var.quantities import fixed, significant

SUBSET = 1000  # rows of a subset for the kernel distance as published
NEAREST = 3  # neighbours that precision and recall look at, in both sets
NEAREST_REAL = 5  # neighbours that density and coverage look at, among the real images


@dataclass(frozen=True, slots=True)
class Score:
    """One score: a row of `TABLE`."""

    key: str  # in `Scores` and in saved reports
    title: str  # "{distance}" stands for FID or FD-name
    better: Literal["lower", "higher"] | None
    show: Callable[[Any], str]
    meaning: str
    _: KW_ONLY
    find: Callable[[Any], Any] | None = None  # from `Evidence` to the score; None where `evaluate` does not measure it
    part: int | None = None  # the place of the score in what `find` returns, where that is several at once
    needs: tuple[str, ...] = ()  # fields of `Evidence` without which the score is None
    thorough: bool = False  # found by a thorough evaluation only
    unit: str = ""

    def cell(self, value: float | str | None) -> str:
        """The value as it stands in tables; "-" for what is not known."""
        return "-" if value is None else self.show(value)


def titled(distance: str) -> list[Score]:
    """The rows with the name of the `distance`, FID or FD-name, in their titles."""
    return [replace(row, title=row.title.replace("{distance}", distance)) for row in TABLE]


def found_scores(evidence: Any, *, thorough: bool = False) -> dict[str, float | None]:
    """Every score that `find` tells from an `Evidence`, by key; None where it needs what is not at hand.

    What several rows share is found once.
    """
    found: dict[Callable[[Any], Any], Any] = {}
    scores: dict[str, float | None] = {}
    for row in TABLE:
        if row.find is None:
            continue
        scores[row.key] = None
        if (row.thorough and not thorough) or any(getattr(evidence, name) is None for name in row.needs):
            continue
        if row.find not in found:
            found[row.find] = row.find(evidence)
        result = found[row.find]
        scores[row.key] = result if row.part is None or result is None else result[row.part]
    return scores


def _infinity(evidence: Any) -> tuple[float, float, float] | None:
    if len(evidence.features) < 3:
        return None
    line = metrics.frechet_infinity.frechet_infinity(evidence.real_statistics, evidence.features)
    return line.value, line.error, line.slope


def _published_kernel_distance(evidence: Any) -> float | None:
    if min(len(evidence.real_features), len(evidence.features)) < 2 * SUBSET:
        return None
    mean, _ = metrics.kernel.kernel_distance(evidence.real_features, evidence.features, subset_size=SUBSET)
    return mean


def _published_inception_score(evidence: Any) -> float:
    return metrics.inception_score.inception_score(evidence.logits, splits=min(10, len(evidence.logits)))[0]


def _sharpness_and_diversity(evidence: Any) -> tuple[float, float]:
    return metrics.inception_score.sharpness_and_diversity(evidence.logits)


def _precision_recall(evidence: Any) -> tuple[float, float] | None:
    if min(len(evidence.real_features), len(evidence.features)) <= NEAREST:
        return None
    return metrics.neighbours.precision_recall(evidence.real_features, evidence.features, k=NEAREST)


def _density_coverage(evidence: Any) -> tuple[float, float] | None:
    if len(evidence.real_features) <= NEAREST_REAL:
        return None
    return metrics.neighbours.density_coverage(evidence.real_features, evidence.features, k=NEAREST_REAL)


def _as_asked(evidence: Any, *names: str) -> float | None:
    right = evidence.text.right
    return None if right is None else metrics.text_alignment.text_alignment(right, names)


# fmt: off
TABLE: tuple[Score, ...] = (
    Score("fd", "{distance}", "lower", fixed(3), "Frechet distance to the features of the real images",
          find=lambda e: metrics.frechet.frechet_distance(e.real_statistics, e.statistics)),
    Score("fd_infinity", "{distance}, n -> inf", "lower", fixed(3), "extrapolated to infinitely many samples",
          find=_infinity, part=0, thorough=True),
    Score("fd_infinity_error", "  its error", None, fixed(3), "standard error of the extrapolation",
          find=_infinity, part=1, thorough=True),
    Score("fd_infinity_slope", "  its slope", None, significant, "what the distance gains by a finite n, times n",
          find=_infinity, part=2, thorough=True),
    Score("fd_second", "{distance}, second", "lower", fixed(3),
          "the same distance in the features of a second network, which was used for no choice"),
    Score("sfd", "s{distance}", "lower", fixed(3), "Frechet distance of an inner map, which sees places",
          find=lambda e: metrics.frechet.frechet_distance(e.real_spatial_statistics, e.spatial_statistics),
          needs=("spatial_statistics", "real_spatial_statistics"), thorough=True),
    Score("fd_ratio", "FDr", "lower", fixed(2),
          "the distance over that of other real images, both at one n and one share of every class; 1 is as real ones"),
    Score("fd_second_ratio", "FDr, second", "lower", fixed(2), "the same ratio in the features of the second network"),
    Score("kd", "KD", "lower", significant, "kernel distance: unbiased squared MMD of the same features, of all pairs",
          find=lambda e: metrics.kernel.kernel_distance(e.real_features, e.features), needs=("real_features",)),
    Score("kd_subsets", "KD, subsets", "lower", significant, "mean over 100 subsets of 1000, as published",
          find=_published_kernel_distance, needs=("real_features",), thorough=True),
    Score("inception_score_splits", "IS, 10 splits", "higher", fixed(2), "Inception score of shuffled splits",
          find=_published_inception_score, needs=("logits",), thorough=True),
    Score("inception_score", "IS", "higher", fixed(2), "Inception score of all samples at once, sharpness * diversity",
          find=lambda e: metrics.inception_score.inception_score(e.logits, splits=1, seed=None)[0], needs=("logits",)),
    Score("sharpness", "Sharpness", "higher", fixed(3), "how sure the classifier is of each image, 1 at best",
          find=_sharpness_and_diversity, part=0, needs=("logits",)),
    Score("diversity", "Diversity", "higher", fixed(2), "effective number of classes among all images",
          find=_sharpness_and_diversity, part=1, needs=("logits",)),
    Score("precision", "Precision", "higher", fixed(3), "share of samples that lie among the real images",
          find=_precision_recall, part=0, needs=("real_features",)),
    Score("recall", "Recall", "higher", fixed(3), "share of real images that lie among the samples",
          find=_precision_recall, part=1, needs=("real_features",)),
    Score("density", "Density", "higher", fixed(3), "how many real balls a sample lies in, 1 as real",
          find=_density_coverage, part=0, needs=("real_features",), thorough=True),
    Score("coverage", "Coverage", "higher", fixed(3), "share of real balls that hold a sample",
          find=_density_coverage, part=1, needs=("real_features",), thorough=True),
    Score("class_consistency", "Class consistency", "higher", fixed(3), "share predicted as the class asked for",
          find=lambda e: metrics.class_consistency.class_consistency(e.class_logits, e.labels),
          needs=("class_logits", "labels")),
    Score("text_alignment", "Text alignment", "higher", fixed(3), "share whose shape, colour and ground are as asked",
          find=lambda e: _as_asked(e, "shape", "colour", "ground"), needs=("text",)),
    Score("text_alignment_size", "  size too", "higher", fixed(3), "share whose size is as asked besides",
          find=lambda e: _as_asked(e, "shape", "colour", "ground", "size"), needs=("text",)),
    Score("retrieval", "R@1 of 32", "higher", fixed(3), "chance that a sample's own prompt is found among 32 of them",
          find=lambda e: e.text.retrieval, needs=("text",)),
    Score("nearest_train_distance", "Nearest train", None, fixed(2),
          "median Euclidean distance to the nearest training image; far below that of test images: copying",
          find=lambda e: metrics.memorization.median(e.train_distances), needs=("train_distances",)),
    Score("closer_share", "Closer than test", None, fixed(3),
          "chance to lie nearer to a training image than a real test image; 0.5 as real, 1 copies",
          find=lambda e: metrics.memorization.compare_nearest(e.train_distances, e.test_distances).closer_share,
          needs=("train_distances", "test_distances")),
)
"""All scores, in the order in which they are shown."""
# fmt: on
