"""The Frechet distance between two Gaussians that are fitted to features."""

import warnings

import numpy as np
import torch
from jaxtyping import Float64

from var.errors import UserError
from var.evaluation.metrics.statistics import Statistics

Square = Float64[np.ndarray, "_d _d"]


class RankDeficientWarning(UserWarning):
    """A covariance of n <= d features is singular: the distance is defined, but says more about n than the set."""


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^1/2) (Dowson & Landau 1982), at least 0.

    Nothing complex ever comes up: with A = F F' the product A B has the eigenvalues of F' B F, which is symmetric.

    Warns (`RankDeficientWarning`) of a set that is not larger than its dimensions. Raises `UserError` for different
    dimensions, or a set with fewer than 2 samples.
    """
    check_statistics(a)
    check_statistics(b)
    if a.dimensions != b.dimensions:
        raise UserError(
            f"a Frechet distance needs the same dimensions on both sides, got {a.dimensions} and {b.dimensions}; "
            f"use one extractor for both"
        )
    _check_count(a, "first")
    _check_count(b, "second")
    rest = float(np.sum((a.mean - b.mean) ** 2)) + float(np.trace(a.cov) + np.trace(b.cov))
    full_rank = all(set_.count is None or set_.count > a.dimensions for set_ in (a, b))
    distance = _by_eigenvalues(a.cov, b.cov, rest) if full_rank else None
    if distance is None:
        distance = rest - 2 * _root_trace(_factor(a.cov), _factor(b.cov))
    return max(distance, 0.0)


def check_statistics(given: object) -> None:
    """Raise `UserError` for what is no `Statistics`, such as the features themselves."""
    if not isinstance(given, Statistics):
        raise UserError(
            f"a Frechet distance is of statistics, got {type(given).__name__}; use Statistics.from_features"
        )


def check_covariance(statistics: Statistics, source: str) -> None:
    """Raise `UserError`, which names the `source` of the statistics, for a covariance that nothing can have."""
    variance = float(np.diag(statistics.cov).min())
    if variance < 0:
        raise UserError(f"{source}: a variance must not be negative, got {variance:.3g}; compute the statistics again")
    correlation, deviation = _correlation(statistics.cov)
    if _cholesky(correlation, deviation) is None:
        try:
            _check_eigenvalues(torch.linalg.eigvalsh(torch.from_numpy(correlation)).numpy())
        except UserError as error:
            raise UserError(f"{source}: {error}") from error


def _by_eigenvalues(a: Square, b: Square, rest: float) -> float | None:
    """The distance from the eigenvalues of F' B F; None where their rounding could move its ninth digit.

    Three times as fast as singular values, but squared: an error of eps times the largest eigenvalue grows by half the
    inverse root of the eigenvalue that it hits. The errors are independent, so their squares add.
    """
    factor = _cholesky(*_correlation(a))
    if factor is None:
        return None
    values = torch.linalg.eigvalsh(torch.from_numpy(factor.T @ b @ factor)).numpy()
    if values[0] <= 0:
        return None
    distance = rest - 2 * float(np.sqrt(values).sum())
    error = 2 * np.finfo(np.float64).eps * values[-1] * float(np.sqrt((0.25 / values).sum()))
    return distance if error <= 5e-9 * distance else None


def _root_trace(a: Float64[np.ndarray, "d rank"], b: Float64[np.ndarray, "d other_rank"]) -> float:
    """Trace of (A B)^1/2 as the sum of the singular values of F' G, which keep all digits however singular A, B."""
    return float(torch.linalg.svdvals(torch.from_numpy(a.T @ b)).sum())


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


def _factor(cov: Square) -> Float64[np.ndarray, "d rank"]:
    """F with F F' = cov: a Cholesky factor where that is safe, else the eigenvectors whose eigenvalues are not noise.

    Works on correlations, so that a dimension of small variance is not mistaken for rounding noise of a large one.
    """
    correlation, deviation = _correlation(cov)
    factor = _cholesky(correlation, deviation)
    if factor is not None:
        return factor
    values, vectors = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(correlation)))
    _check_eigenvalues(values)
    # The root of a null direction's noise (1e-16) would be 1e-8: it is cut before the root is taken.
    kept = values > _noise(cov) * values[-1]
    return deviation[:, None] * (vectors[:, kept] * np.sqrt(values[kept]))


def _check_eigenvalues(values: Float64[np.ndarray, " d"]) -> None:
    if values[0] < -1e-6 * max(values[-1], 1.0):
        raise UserError(
            f"a covariance must not have negative eigenvalues, got {values[0]:.3g} (of its correlations); "
            f"compute the statistics again in float64"
        )


def _correlation(cov: Square) -> tuple[Square, Float64[np.ndarray, " d"]]:
    """Correlations, 0 for dimensions that never change, and standard deviations."""
    deviation = np.sqrt(np.clip(np.diag(cov), 0.0, None))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return inverse[:, None] * cov * inverse, deviation


def _cholesky(correlation: Square, deviation: Float64[np.ndarray, " d"]) -> Square | None:
    """The Cholesky factor of the covariance; None where it would be noise."""
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(correlation))
    # Squared, the smallest pivot bounds the smallest eigenvalue from above; far above the noise it is trusted.
    if failed or float(factor.diagonal().min()) ** 2 <= 1e6 * _noise(correlation):
        return None
    return deviation[:, None] * factor.numpy()


def _noise(matrix: Square) -> float:
    return len(matrix) * float(np.finfo(np.float64).eps)
