"""Nearest neighbours in feature space: precision and recall, density and coverage, distances to the training set.

Matrix products propose, direct differences decide: |x|^2 + |y|^2 - 2 x.y is fast but loses digits, so whatever it
leaves in doubt is computed again from x - y. Results are those of the direct differences in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from var import checks
from var.errors import UserError
from var.evaluation.features.extraction import Array, own_feature_rows

_ENTRIES = 1 << 22  # float64 values of a distance matrix, or of direct differences, that exist at once
_ROWS = 256  # and at least so many rows of the matrix: products of fewer take twice as long
_SPARE = 8  # neighbours that are looked at beyond those needed

Rows = Float64[np.ndarray, "_n dimensions"]


@dataclass(frozen=True, slots=True)
class _Points:
    """Features and their squared lengths, which every chunk of a distance matrix needs."""

    rows: Rows
    lengths: Float64[np.ndarray, " _n"]

    @classmethod
    def near_first(cls, *sets: Rows) -> "list[_Points]":
        """Sets seen from the mean of the first, in their own memory: near the data, products lose fewer digits."""
        origin = sets[0].mean(axis=0)
        for rows in sets:
            rows -= origin
        return [cls(rows, np.einsum("nd,nd->n", rows, rows)) for rows in sets]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: slice) -> "_Points":
        return _Points(self.rows[chosen], self.lengths[chosen])


def precision_recall(real: Array, fake: Array, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991) of features (n, dimensions).

    Precision is the share of fakes that lie in the ball of some real sample, recall that of real samples in the ball of
    some fake; a ball reaches to the k-th neighbour (itself not counted) in its own set, the border included. Raises
    `UserError` for NaN/Inf (naming the set), different dimensions, or not 1 <= k < n in each set.
    """
    k = checks.argument("k", k, int)
    reals, fakes = _Points.near_first(*own_feature_rows(real, fake))
    smaller = min(len(reals), len(fakes))
    if not 1 <= k < smaller:
        raise UserError(
            f"k must be from 1 to the size of the smaller set less one, {smaller - 1}, got {k}; change it, or give "
            "more samples"
        )
    precision = _covered(fakes, reals, _squared_radii(reals, k)).mean()
    recall = _covered(reals, fakes, _squared_radii(fakes, k)).mean()
    return float(precision), float(recall)


def density_coverage(real: Array, fake: Array, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, arXiv 2002.09797) of features (n, dimensions).

    A ball around each real sample reaches to its k-th real neighbour (itself not counted), the border excluded. Density
    is the number of balls that a fake lies in, over k, on average: 1 for the real distribution, and not bounded by it.
    Coverage is the share of balls with a fake inside, at most 1. Raises `UserError` for NaN/Inf (naming the set),
    different dimensions, an empty fake set, or not 1 <= k < n of the real set.
    """
    k = checks.argument("k", k, int)
    reals, fakes = _Points.near_first(*own_feature_rows(real, fake, minimum=(2, 1)))
    if not 1 <= k < len(reals):
        raise UserError(f"k must be from 1 to the size of the real set less one, {len(reals) - 1}, got {k}; change it")
    squared_radii = _squared_radii(reals, k)
    pairs, covered = 0, np.zeros(len(reals), dtype=bool)
    for rows in _chunks(len(fakes), len(reals)):
        inside = _inside(fakes[rows], reals, squared_radii)
        pairs += int(inside.sum())
        covered |= inside.any(axis=0)
    return pairs / (k * len(fakes)), float(covered.mean())


def nearest_distance(queries: Array, references: Array) -> Float64[np.ndarray, " n"]:
    """Euclidean distance of each query (n, dimensions) to its nearest reference (m, dimensions).

    Raises `UserError` for NaN/Inf (naming the set), different dimensions, or no references.
    """
    rows = own_feature_rows(queries, references, names=("queries", "references"), minimum=(0, 1))
    near, seen = _Points.near_first(rows[1], rows[0])
    return np.sqrt(_kth_smallest(seen, near, 1))


def _squared_radii(points: _Points, k: int) -> Float64[np.ndarray, " n"]:
    return _kth_smallest(points, points, k + 1)  # one more, because each row is its own nearest


def _kth_smallest(queries: _Points, references: _Points, k: int) -> Float64[np.ndarray, " _queries"]:
    """The k-th smallest squared distance of each query to the references, from direct differences."""
    chunks = _chunks(len(queries), len(references))
    return np.concatenate([np.empty(0), *(_kth_smallest_of_chunk(queries[rows], references, k) for rows in chunks)])


def _kth_smallest_of_chunk(queries: _Points, references: _Points, k: int) -> Float64[np.ndarray, " _queries"]:
    n, m = len(queries), len(references)
    proposed, error = _proposed_squares(queries, references)
    candidates = min(k + _SPARE, m)
    nearest = np.argpartition(proposed, candidates - 1, axis=1)[:, :candidates].astype(np.int64)
    exact = _exact_squares(queries, references, np.repeat(np.arange(n), candidates), nearest.ravel())
    found = np.partition(exact.reshape(n, candidates), k - 1, axis=1)[:, k - 1]
    if candidates < m:
        # Whatever was not proposed is at least this far; a query that cannot rely on it is compared with everything.
        proposed -= error
        limit = np.take_along_axis(proposed, nearest, axis=1).max(axis=1) - error.max(axis=1)
        for query in np.flatnonzero((found > limit) & (found > 0)):
            everything = _exact_squares(queries, references, np.full(m, query), np.arange(m))
            found[query] = np.partition(everything, k - 1)[k - 1]
    return found


def _covered(
    queries: _Points, references: _Points, squared_radii: Float64[np.ndarray, " _references"]
) -> Bool[np.ndarray, " _queries"]:
    """True where a query lies within the radius of at least one reference."""
    chunks = _chunks(len(queries), len(references))
    inside = (_inside(queries[rows], references, squared_radii, np.less_equal).any(axis=1) for rows in chunks)
    return np.concatenate(list(inside))


def _inside(
    queries: _Points,
    references: _Points,
    squared_radii: Float64[np.ndarray, " _references"],
    closer: np.ufunc = np.less,
) -> Bool[np.ndarray, "_queries _references"]:
    """True where a query lies within the radius of a reference, whose border `closer` excludes."""
    proposed, error = _proposed_squares(queries, references)
    excess = proposed - squared_radii
    inside = excess < 0
    doubtful, of = np.nonzero(np.abs(excess) <= error)
    inside[doubtful, of] = closer(_exact_squares(queries, references, doubtful, of), squared_radii[of])
    return inside


def _chunks(rows: int, columns: int) -> Iterator[slice]:
    """Runs of rows such that a matrix of this many columns stays small."""
    step = max(_ENTRIES // max(columns, 1), _ROWS)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _proposed_squares(x: _Points, y: _Points) -> tuple[Float64[np.ndarray, "_n _m"], Float64[np.ndarray, "_n _m"]]:
    """Squared distances through a matrix product, and a bound of their rounding errors."""
    lengths = x.lengths[:, None] + y.lengths
    squares = x.rows @ y.rows.T
    squares *= -2
    squares += lengths
    lengths *= 4 * (x.rows.shape[1] + 4) * np.finfo(np.float64).eps
    return squares, lengths


def _exact_squares(
    x: _Points, y: _Points, of_x: Int64[np.ndarray, " pairs"], of_y: Int64[np.ndarray, " pairs"]
) -> Float64[np.ndarray, " pairs"]:
    """Squared distances of the pairs (x[of_x], y[of_y]), each summed in the same order wherever it is asked for."""
    squares = np.empty(len(of_x))
    step = max(_ENTRIES // x.rows.shape[1], 1)
    for start in range(0, len(of_x), step):
        difference = x.rows[of_x[start : start + step]] - y.rows[of_y[start : start + step]]
        squares[start : start + step] = np.square(difference, out=difference).sum(axis=1)
    return squares
