"""Mean and covariance of a feature set, exact under sharding, in the file layout that the field shares."""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from var.errors import UserError
from var.evaluation.features.extraction import Array, feature_chunks
from var.files import atomic_file

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
        if not (np.isfinite(self.mean).all() and np.isfinite(self.cov).all()):
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `mu`, `sigma` and `count` to an npz file, whole or not at all."""
        save_arrays(path, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file holds, by name."""
        count = {} if self.count is None else {"count": np.array(self.count)}
        return {"mu": self.mean, "sigma": self.cov, **count}

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, spatial: bool = False) -> "Statistics":
        """Read our own file or ADM's reference npz; `spatial` takes `mu_s`, `sigma_s` (sFID) instead of `mu`, `sigma`.

        The stored mean and covariance are used as they are. ADM's `arr_0` holds some images of the reference, not those
        that the statistics come from, so their count stays unknown. Raises `UserError` for a missing file, one that is
        no npz, and keys that are missing or misshapen.
        """
        if os.path.exists(path) and not zipfile.is_zipfile(path):
            # numpy would take anything else for a pickle, and speak of loading it unsafely.
            kind = "a folder" if os.path.isdir(path) else "another kind of file"
            raise UserError(f"{path} is not a readable npz archive but {kind}; make statistics with `var stats build`")
        needed = ("mu_s", "sigma_s") if spatial else ("mu", "sigma")
        try:
            # Opened here, because numpy leaves a file open that it cannot read.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                found = list(archive)
                arrays = [np.asarray(archive[key], dtype=np.float64) for key in needed if key in found]
                count = int(archive["count"]) if "count" in found else None
        except FileNotFoundError as error:
            raise UserError(f"no statistics at {path}; check the path") from error
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{path} is not a readable npz archive ({error}); download or compute it again") from error
        missing = [key for key in needed if key not in found]
        if missing:
            raise UserError(f"{path} must hold {' and '.join(missing)}, got {found}; is it another archive?")
        mean, cov = arrays
        if mean.ndim != 1 or cov.ndim != 2:
            shapes = f"{mean.shape} and {cov.shape}"
            raise UserError(
                f"{path} must hold a mean (d,) and a covariance (d, d), got {shapes}; is it another archive?"
            )
        try:
            return cls(count, mean, cov)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def save_arrays(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """Write an npz whole or not at all."""
    with atomic_file(Path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
