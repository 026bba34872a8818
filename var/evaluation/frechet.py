"""The Frechet distance between two Gaussians that are fitted to features."""

import warnings

import numpy as np
from jaxtyping import Float64

from var.errors import UserError
from var.evaluation.statistics import Statistics


class RankDeficientWarning(UserWarning):
    """A covariance of n <= d features is singular: the distance is defined, but says more about n than the set."""


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^1/2) (Dowson & Landau 1982), at least 0.

    With factors A = F F' and B = G G', the trace of the root is the sum of the singular values of F' G: no root of a
    product that is not symmetric, no square that halves the digits, and nothing complex when A or B is singular.

    Warns:
        RankDeficientWarning: a set is not larger than its dimensions.

    Raises:
        UserError: different dimensions, or a set with fewer than 2 samples.
    """
    if a.dimensions != b.dimensions:
        raise UserError(
            f"a Frechet distance needs the same dimensions on both sides, got {a.dimensions} and {b.dimensions}; "
            f"use one extractor for both"
        )
    _check_count(a, "first")
    _check_count(b, "second")
    mean_term = float(np.sum((a.mean - b.mean) ** 2))
    product = _factor(a.cov).T @ _factor(b.cov)
    root_trace = float(np.linalg.svd(product, compute_uv=False).sum())
    return max(mean_term + float(np.trace(a.cov) + np.trace(b.cov)) - 2 * root_trace, 0.0)


def _check_count(statistics: Statistics, name: str) -> None:
    count, d = statistics.count, statistics.dimensions
    if count is None:
        return
    if count < 2:
        raise UserError(f"a covariance needs at least 2 samples, the {name} set has {count}; use more samples")
    if count <= d:
        warnings.warn(
            f"the covariance of the {name} set is rank-deficient: {count} samples in {d} dimensions; use more than {d}",
            RankDeficientWarning,
            stacklevel=3,
        )


def _factor(cov: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d rank"]:
    """F with F F' = cov: a Cholesky factor where that is safe, else the eigenvectors whose eigenvalues are not noise.

    Works on correlations, so that a dimension of small variance is not mistaken for rounding noise of a large one.
    """
    deviation = np.sqrt(np.clip(np.diag(cov), 0.0, None))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    correlation = inverse[:, None] * cov * inverse
    noise = len(cov) * np.finfo(np.float64).eps
    try:
        factor = np.linalg.cholesky(correlation)
        # Squared, the smallest pivot bounds the smallest eigenvalue from above; far above the noise it is trusted.
        if np.diag(factor).min() ** 2 > 1e6 * noise:
            return deviation[:, None] * factor
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(correlation)
    largest = values[-1]
    if values[0] < -1e-6 * max(largest, 1.0):
        raise UserError(
            f"a covariance must not have negative eigenvalues, got {values[0]:.3g} (of its correlations); "
            f"compute the statistics again in float64"
        )
    # The root of a null direction's noise (1e-16) would be 1e-8: it is cut before the root is taken.
    kept = values > noise * largest
    return deviation[:, None] * (vectors[:, kept] * np.sqrt(values[kept]))
