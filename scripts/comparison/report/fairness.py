"""Comparing fairly: at equal distance, at equal sampling time, at equal training; with how sure one can be.

Distances carry noise of the drawn samples. It is carried through the interpolation by drawing each distance again from
a normal distribution with the deviation that several generation seeds showed.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from var.randomness import keyed_seed

DRAWS = 500

TIME = "seconds_per_1000_images"

LEVEL_RATIO = 1.1
"""Distances, speeds and costs closer than this are called level: retraining with another seed moves them as much."""

SHARES = ("precision", "recall", "class_consistency")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EqualDistance:
    """What it costs to reach a given distance."""

    row: Row  # the fastest measured setting that reaches it
    seconds: float  # per 1000 images, interpolated along the front: log(seconds) is linear in the distance


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRatio:
    """How many times as long the other model takes for the same distance."""

    ratio: float
    low: float  # 16th and 84th percentile over the noise of the distances
    high: float
    reached: float  # share of the draws in which it gets there at all, in [0, 1]


def level(key: str, first: Row, other: Row) -> bool:
    """Whether two rows differ by no more than their spread.

    That is the sum of their standard deviations over training seeds; of one seed, two standard errors of a share or of
    a likelihood, and a tenth of anything else.
    """
    low, high = sorted((first[key], other[key]))
    spreads = spreads_of(key, (first, other))
    if spreads is not None:
        return high - low <= sum(spreads)
    if key in SHARES:
        return high - low <= 2 * sum(row[key] * (1 - row[key]) / row["samples"] for row in (first, other)) ** 0.5
    if key == "bits_per_dimension":
        return high - low <= 2 * sum(row["bits_error"] ** 2 for row in (first, other)) ** 0.5
    return high <= max(low, 0) * LEVEL_RATIO


def spreads_of(key: str, rows: Iterable[Row]) -> list[float] | None:
    """Standard deviations of a score over training seeds; None unless all rows have one."""
    found = [row.get("spread", {}).get(key) for row in rows]
    return None if None in found else found


def front(rows: Iterable[Row]) -> list[Row]:
    """The non-dominated rows, fastest first: no other row is as fast and as near to the real images."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[TIME], row["fd"])):
        if not best or row["fd"] < best[-1]["fd"]:
            best.append(row)
    return best


def equal_distance(rows: Iterable[Row], fd: float) -> EqualDistance | None:
    """The cost of distance `fd` or less among `rows`; None if none of them reaches it."""
    before = None
    for row in front(rows):
        if row["fd"] <= fd:
            if before is None:
                return EqualDistance(row, row[TIME])
            share = (before["fd"] - fd) / (before["fd"] - row["fd"])
            slow, fast = (math.log(point[TIME]) for point in (row, before))
            return EqualDistance(row, math.exp(fast + share * (slow - fast)))
        before = row
    return None


def equal_time(rows: Iterable[Row], seconds: float) -> Row | None:
    """The row of least distance that takes at most `seconds` per 1000 images; None if all take longer."""
    within = [row for row in rows if row[TIME] <= seconds]
    return min(within, key=lambda row: row["fd"], default=None)


def speed_ratio(mine: Row, others: Sequence[Row], *, deviations: tuple[float, float] = (0.0, 0.0)) -> SpeedRatio | None:
    """Time of the other model to reach the distance of `mine`, over the time of `mine`.

    `deviations` are relative standard deviations of a distance of either model over generation seeds. None where the
    other model does not get there.
    """
    cost = equal_distance(others, mine["fd"])
    if cost is None:
        return None
    own, relative = deviations
    draw = random.Random(keyed_seed("speed ratio", 0))
    ratios = []
    for _ in range(DRAWS):
        noisy = [{**row, "fd": row["fd"] * (1 + relative * draw.gauss(0, 1))} for row in others]
        found = equal_distance(noisy, mine["fd"] * (1 + own * draw.gauss(0, 1)))
        if found is not None:
            ratios.append(found.seconds / mine[TIME])
    ratios.sort()
    ratio = cost.seconds / mine[TIME]
    low, high = (ratios[round(share * (len(ratios) - 1))] for share in (0.16, 0.84)) if ratios else (ratio, ratio)
    return SpeedRatio(ratio=ratio, low=low, high=high, reached=len(ratios) / DRAWS)
