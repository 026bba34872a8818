"""The kernel distance (KID): an unbiased estimate of the squared maximum mean discrepancy."""

import numpy as np
from jaxtyping import Float64

from var import checks
from var.errors import UserError
from var.evaluation.features.extraction import Array, own_feature_rows

_TILE = 360  # side of the part of a kernel matrix that exists at once: what a core keeps in its cache

Rows = Float64[np.ndarray, "_n dimensions"]


def kernel_distance(
    real: Array, fake: Array, *, subsets: int | None = None, subset_size: int | None = None, seed: int = 0
) -> float | tuple[float, float]:
    """Unbiased MMD^2 with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401); it may be negative.

    All pairs of the two sets (n, dimensions) enter by default. With `subsets` (100 if only the size is given) or
    `subset_size` (1000 if only the number is given), the mean and the population deviation over subsets that
    `numpy.random.RandomState(seed)` draws without replacement, of `fake` first: what published KIDs are. Raises
    `UserError` for NaN/Inf (naming the set), different dimensions, fewer than 2 samples, or a subset larger than a set.
    """
    subsets = checks.argument("subsets", subsets, int | None)
    subset_size = checks.argument("subset_size", subset_size, int | None)
    if not 0 <= (seed := checks.argument("seed", seed, int)) < 2**32:
        raise UserError(f"seed must lie in [0, 2^32), got {seed}; correct it")
    real_rows, fake_rows = own_feature_rows(real, fake)
    # Origin of the coordinates in `_mmd`, any point will do: the nearer to both sets, the more digits survive.
    centre = (real_rows.mean(axis=0) + fake_rows.mean(axis=0)) / 2
    real_rows -= centre
    fake_rows -= centre
    if subsets is None and subset_size is None:
        return _mmd(real_rows, fake_rows, centre)

    subsets = 100 if subsets is None else subsets
    size = 1000 if subset_size is None else subset_size
    smaller = min(len(real_rows), len(fake_rows))
    if subsets < 1:
        raise UserError(f"subsets must be at least 1, got {subsets}; leave it out to use all pairs")
    if not 2 <= size <= smaller:
        raise UserError(f"subset_size must be from 2 to the size of the smaller set, {smaller}, got {size}; change it")
    random = np.random.RandomState(seed)  # what published numbers were drawn with
    values = np.empty(subsets)
    for i in range(subsets):
        fake_part = fake_rows[random.choice(len(fake_rows), size, replace=False)]
        real_part = real_rows[random.choice(len(real_rows), size, replace=False)]
        values[i] = _mmd(real_part, fake_part, centre)
    return float(values.mean()), float(values.std())


def _mmd(real: Rows, fake: Rows, centre: Float64[np.ndarray, " dimensions"]) -> float:
    """MMD^2 of the points `real + centre` and `fake + centre`."""
    n, m = len(real), len(fake)
    real_pairs = _kernel_sum(real, real, centre, diagonal=False) / (n * (n - 1))
    fake_pairs = _kernel_sum(fake, fake, centre, diagonal=False) / (m * (m - 1))
    return real_pairs + fake_pairs - 2 * _kernel_sum(real, fake, centre, diagonal=True) / (n * m)


def _kernel_sum(x: Rows, y: Rows, centre: Float64[np.ndarray, " dimensions"], *, diagonal: bool) -> float:
    """Sum over pairs of the kernel, less the terms that depend on one point only.

    Far from the origin the kernel is a huge constant plus little: (a + p + q + g)^3 with a = |c|^2/d + 1,
    p = c.x/d, q = c.y/d, g = x.y/d. In an MMD every term of one point alone cancels, so (a+p)^3, (a+q)^3 and -a^3 are
    taken away on paper instead of in floating point; 3pq(a+m) + g(3m^2 + 3mg + g^2) with m = a+p+q remains.
    """
    d = len(centre)
    a = centre @ centre / d + 1
    q = y @ centre / d
    total = 0.0
    for start in range(0, len(x), _TILE):
        rows = x[start : start + _TILE]
        p = (rows @ centre / d)[:, None]
        for first in range(0, len(y), _TILE):
            columns, q_part = y[first : first + _TILE], q[first : first + _TILE]
            g = rows @ columns.T / d
            m = (a + q_part) + p
            pairs = ((m + g) * m * 3 + g * g) * g
            m += a
            pairs += m * q_part * (3 * p)
            total += float(pairs.sum())
            if not diagonal and first == start:
                total -= float(np.trace(pairs))
    return total
