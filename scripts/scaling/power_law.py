"""Power laws through points, y = c x^a, as straight lines through their logarithms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from var.errors import UserError


class NoLawError(UserError):
    """Values that no power law has: 0, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """y = `coefficient` * x ** `exponent`, with the 95 % intervals of both (Student's t, points - 2 degrees)."""

    coefficient: float
    exponent: float
    coefficient_interval: tuple[float, float]
    exponent_interval: tuple[float, float]
    correlation: float  # Pearson's, of the logarithms
    points: int

    def __call__(self, x: float) -> float:
        """The law's y at `x`."""
        return self.coefficient * x**self.exponent


def fit_power_law(x: Sequence[float], y: Sequence[float], name: str = "a power law") -> PowerLaw:
    """Least squares on the logarithms (arXiv 2404.02905, Section 4.2, Eq. 5).

    Raises `UserError`, which names what is fitted, for fewer than three points, for different lengths, and where all x
    are one; `NoLawError` for values that have no logarithm.
    """
    if len(x) != len(y) or len(x) < 3:
        raise UserError(f"{name} needs 3 points (x, y) or more, got {len(x)} and {len(y)}; train more depths")
    if not all(math.isfinite(value) and value > 0 for value in (*x, *y)):
        raise NoLawError(f"{name} needs positive numbers, got {[*x]} and {[*y]}; leave out what has none")
    try:
        from scipy import stats
    except ImportError as error:
        raise UserError('intervals need scipy, which is missing; pip install "next-scale[compare]"') from error
    u, v = np.log(np.asarray(x, dtype=np.float64)), np.log(np.asarray(y, dtype=np.float64))
    spread = float(((u - u.mean()) ** 2).sum())
    if spread < 1e-12:
        raise UserError(f"{name} needs different x, got {x[0]} only; train other depths")
    slope = float(((u - u.mean()) * (v - v.mean())).sum()) / spread
    level = float(v.mean() - slope * u.mean())
    variance = float(((v - level - slope * u) ** 2).sum()) / max(len(u) - 2, 1)
    width = float(stats.t.ppf(0.975, len(u) - 2))
    of_slope = width * math.sqrt(variance / spread)
    of_level = width * math.sqrt(variance * (1 / len(u) + float(u.mean()) ** 2 / spread))
    total = float(((v - v.mean()) ** 2).sum())
    return PowerLaw(
        coefficient=math.exp(level),
        exponent=slope,
        coefficient_interval=(math.exp(level - of_level), math.exp(level + of_level)),
        exponent_interval=(slope - of_slope, slope + of_slope),
        correlation=slope * math.sqrt(spread / total) if total > 0 else 0.0,
        points=len(u),
    )


def frontier(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The points (compute, loss) of the `curves`, smallest model first, that no point of at most their compute beats.

    It begins where the second curve first has such a point: before, there was only one size to choose from.
    """
    found: list[tuple[float, float, int]] = []
    for point in sorted((x, y, number) for number, curve in enumerate(curves) for x, y in curve):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    first = next((place for place, (_, _, number) in enumerate(found) if number), 0)
    return [(x, y) for x, y, _ in found[first:]]
