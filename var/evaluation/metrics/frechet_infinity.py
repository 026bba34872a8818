"""The Frechet distance of infinitely many samples, by extrapolation."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from var import checks
from var.errors import UserError
from var.evaluation.features.extraction import Array, plain_rows
from var.evaluation.metrics.frechet import RankDeficientWarning, check_statistics, frechet_distance
from var.evaluation.metrics.statistics import Statistics
from var.randomness import keyed_generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """A line through distances of subsets, over one divided by their size."""

    value: float  # where the line meets 1/n = 0; below 0 when noise outweighs the distance
    error: float  # standard error of `value` from the scatter about the line
    slope: float  # distance times n that a finite set adds
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_infinity(
    reference: Statistics, features: Array, *, points: int = 15, smallest: int | None = None, seed: int = 0
) -> Extrapolation:
    """The distance that `features` (n, dimensions) would have if there were infinitely many of them.

    FD-infinity (Chong & Forsyth 2020, arXiv 1911.07023): the bias of a Frechet distance is about a constant over n, so
    the distances of `points` random subsets, whose sizes lie evenly in 1/n from `smallest` to n, lie on a line. The
    reference's own bias stays. `smallest` is n / 10, and more than the dimensions where that leaves half of the set.
    Raises `UserError` for fewer than 3 points, not 2 <= smallest < n, or whatever `frechet_distance` refuses.
    """
    points = checks.argument("points", points, int)
    smallest = checks.argument("smallest", smallest, int | None)
    check_statistics(reference)
    features = plain_rows(features, name="samples' features")
    n, d = features.shape[0], reference.dimensions
    low = max(min(max(n // 10, 2 * d), n // 2), 2) if smallest is None else smallest
    if points < 3:
        raise UserError(f"a line with an error needs at least 3 points, got {points}; ask for more")
    if not 2 <= low < n:
        raise UserError(f"smallest must be from 2 to {n - 1}, one below the samples, got {low}; use more samples")
    sizes = [round(1 / inverse) for inverse in np.linspace(1 / low, 1 / n, points)]
    distances = []
    for place, size in enumerate(sizes):
        order = torch.randperm(n, generator=keyed_generator("frechet infinity", seed, place))[:size]
        # Sorted, so that rows of a file on disk are read in their order.
        part = Statistics.from_features(features[order.sort().values], name="samples' features")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankDeficientWarning)  # said once, of the whole set, by the caller
            distances.append(frechet_distance(reference, part))
    return _line(sizes, distances)


def _line(sizes: list[int], distances: list[float]) -> Extrapolation:
    inverse, values = 1 / np.array(sizes), np.array(distances)
    centre, spread = inverse.mean(), ((inverse - inverse.mean()) ** 2).sum()
    # Sizes of tiny sets may all be rounded to one.
    slope = float(((inverse - centre) * values).sum() / spread) if spread > 0 else 0.0
    value = float(values.mean() - slope * centre)
    residual = values - (value + slope * inverse)
    variance = float((residual**2).sum()) / (len(sizes) - 2)
    error = math.sqrt(variance * (1 / len(sizes) + (centre**2 / spread if spread > 0 else 0.0)))
    return Extrapolation(value=value, error=error, slope=slope, sizes=tuple(sizes), distances=tuple(distances))
