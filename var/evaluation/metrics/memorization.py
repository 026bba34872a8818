"""Whether samples are copies: how near they lie to the training set, beside how near real test images lie to it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from var.errors import UserError
from var.evaluation.features.extraction import Array
from var.evaluation.metrics.neighbours import nearest_distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Memorization:
    """Distances to the nearest training image."""

    median: float  # of the samples
    test_median: float  # of real test images, which nobody can have copied
    closer_share: float  # probability that a sample lies closer than a test image: 0.5 is as it should be, 1 copies


def memorization(samples: Array, test: Array, train: Array) -> Memorization:
    """Compare the nearest training distances of samples and test images, all (n, dimensions), pixels or features.

    `closer_share` is the statistic of Meehan et al. (2020, arXiv 2004.05675): the share of all pairs of a sample and a
    test image in which the sample lies closer; ties count half. Raises `UserError` for NaN/Inf (naming the set),
    different dimensions, or an empty set.
    """
    return compare_nearest(nearest_distance(samples, train), nearest_distance(test, train))


def compare_nearest(samples: Float64[np.ndarray, " n"], test: Float64[np.ndarray, " m"]) -> Memorization:
    """`memorization` from the nearest distances themselves; raises `UserError` for an empty set."""
    if not len(samples) or not len(test):
        raise UserError(
            f"memorization needs samples and test images, got {len(samples)} and {len(test)}; leave out neither"
        )
    ordered = np.sort(test)
    farther = len(test) - np.searchsorted(ordered, samples, side="right")
    level = np.searchsorted(ordered, samples, side="right") - np.searchsorted(ordered, samples, side="left")
    return Memorization(
        median=median(samples),
        test_median=median(test),
        closer_share=float((farther + level / 2).mean() / len(test)),
    )


def median(distances: Float64[np.ndarray, " n"]) -> float:
    """The median of distances."""
    return float(np.median(distances))


Memorisation, memorisation = Memorization, memorization  # as both were spelt at first
