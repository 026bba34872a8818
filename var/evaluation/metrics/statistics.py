"""Mean and covariance of a feature set, exact under sharding, in the file layout that the field shares."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from var.errors import UserError
from var.evaluation.features.extraction import Array, feature_chunks
from var.foreign.archives import Header, npz_array, npz_header, write_npz

_CHUNK = 8192  # rows that are centred at once: bounds the float64 copies


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean and covariance (divisor n - 1) of features, in float64.

    `a + b` are the statistics of both sets together, whatever their sizes, empty ones too.
    """

    count: int | None  # None where a reference file does not say; such statistics compare, but do not add
    mean: Float64[np.ndarray, " dimensions"]
    # Square of the mean's length, which `__post_init__` checks; zero while count < 2, where there is no covariance.
    cov: Float64[np.ndarray, "_dimensions _dimensions"]

    def __post_init__(self) -> None:
        d = len(self.mean)
        if self.mean.shape != (d,) or self.cov.shape != (d, d) or d == 0:
            raise UserError(
                f"a mean (d,) needs a covariance (d, d), got {self.mean.shape} and {self.cov.shape}; "
                f"take both from the same features"
            )
        with np.errstate(over="ignore"):  # of numbers that have no square
            finite = np.isfinite(self.cov).all() and np.isfinite(self.mean @ self.mean + np.trace(self.cov))
        if not finite:
            raise UserError("mean and covariance must be finite, got NaN or Inf; compute them again in float64")
        if np.abs(self.cov - self.cov.T).max() > 1e-6 * np.abs(self.cov).max():
            raise UserError("a covariance must be symmetric, got one that is not; is it another matrix?")

    @property
    def dimensions(self) -> int:
        """Length of a feature vector."""
        return len(self.mean)

    @classmethod
    def from_features(cls, features: Array, *, name: str = "features") -> "Statistics":
        """Statistics of the rows of `features` (n, dimensions); n may be 0.

        Raises `UserError`, which says `name`, for other axes, or NaN/Inf.
        """
        total: Statistics | None = None
        origin: Float64[np.ndarray, " d"] | None = None
        for rows in feature_chunks(features, name=name, rows=_CHUNK):
            # Differences from one of the points are exact for float32 features, so a big common offset costs no digits
            # and a dimension that never changes has a variance of exactly zero.
            origin = rows[:1].sum(axis=0) if origin is None else origin
            part = cls._of_chunk(rows - origin)
            total = part if total is None else total + part
        assert total is not None  # there is always a chunk, of no rows at least
        assert origin is not None
        return cls(total.count, total.mean + origin, total.cov)

    @classmethod
    def _of_chunk(cls, rows: Float64[np.ndarray, "n dimensions"]) -> "Statistics":
        if not len(rows):
            d = rows.shape[1]
            return cls(0, np.zeros(d), np.zeros((d, d)))
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred / max(len(rows) - 1, 1))

    def __add__(self, other: "Statistics") -> "Statistics":
        """Chan, Golub & LeVeque (1979): the scatter of a union, without going back to the features.

        Raises `UserError` for different dimensions, or statistics from a file that does not say their count.
        """
        if self.dimensions != other.dimensions:
            raise UserError(
                f"only statistics of the same dimensions add, got {self.dimensions} and {other.dimensions}; "
                f"use one extractor for all shards"
            )
        if self.count is None or other.count is None:
            raise UserError("statistics without a count do not add; start from features, or save them with `save`")
        count = self.count + other.count
        if not self.count or not other.count:
            full = self if self.count else other
            return type(self)(count, full.mean, full.cov)
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        scatter = (
            self.cov * (self.count - 1)
            + other.cov * (other.count - 1)
            + np.outer(delta, delta) * (self.count * other.count / count)
        )
        return type(self)(count, mean, scatter / (count - 1))

    def save(self, path: Path | str) -> None:
        """Write `mu`, `sigma` and `count` to an npz file, whole or not at all."""
        write_npz(path, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file holds, by name."""
        count = {} if self.count is None else {"count": np.array(self.count)}
        return {"mu": self.mean, "sigma": self.cov, **count}

    @classmethod
    def load(cls, path: Path | str, *, spatial: bool = False) -> "Statistics":
        """Read our own file or ADM's reference npz; `spatial` takes `mu_s`, `sigma_s` (sFID) instead of `mu`, `sigma`.

        The stored mean and covariance are used as they are. ADM's `arr_0` holds some images of the reference, not those
        that the statistics come from, so their count stays unknown. Raises `UserError` for a missing file, one that is
        no npz, and keys that are missing or misshapen.
        """
        needed = ("mu_s", "sigma_s") if spatial else ("mu", "sigma")
        missing = [key for key in needed if npz_header(path, key) is None]
        if missing:
            raise UserError(
                f"{path} must hold {' and '.join(missing)}, which it does not; make statistics with `var stats build`"
            )
        d = _header(path, needed[0])[0][:1]
        mean, cov = (
            npz_array(path, key, partial(_check, path, shape)).astype(np.float64)
            for key, shape in zip(needed, (d, d * 2), strict=True)
        )
        try:
            return cls(_stored_count(path), mean, cov)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def _header(path: Path | str, name: str) -> Header:
    found = npz_header(path, name)
    assert found is not None  # the caller has looked
    return found


def _check(path: Path | str, shape: tuple[int, ...], found: Header) -> None:
    """Raise unless an array, which is not read yet, has this shape, and real numbers."""
    if found[0] != shape or 0 in shape or not shape or found[1].kind not in "fiu":
        raise UserError(
            f"{path} must hold a mean (d,) and a covariance (d, d) of numbers, got {found[1]} {found[0]} for "
            f"{shape}; is it another archive?"
        )


def _stored_count(path: Path | str) -> int | None:
    found = npz_header(path, "count")
    if found is None:
        return None
    if found[0] != () or found[1].kind not in "iu" or (count := int(npz_array(path, "count"))) < 0:
        raise UserError(f"{path}: count must be a whole number from 0 on; compute the statistics again")
    return count
