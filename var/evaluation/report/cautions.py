"""What a reader of scores must know: each caution is a sentence that begins with its subject."""

from collections.abc import Sequence

from torch import Tensor

from var.evaluation.metrics.statistics import Statistics
from var.evaluation.table import NEAREST, NEAREST_REAL

ENOUGH = 10_000
"""Samples below which a Frechet distance says more about their number than about the model."""

SEEDS = 3
"""Sets of samples from which on their spread is worth something."""

UNKNOWN_ORIGIN = "Origin: the reference file does not say which network and which resize it was made with."


def cautions(
    sets: Sequence[tuple[int, Tensor | None]], reference: Statistics, real_features: int | None = None
) -> list[str]:
    """Cautions on the sets (samples, labels) of one model, and on what they are compared with.

    `real_features` is the number of real images whose features are known; None for none.
    """
    counts = [count for count, _ in sets]
    least, d, found = min(counts), reference.dimensions, []
    if least <= d:
        found.append(f"n <= d: {least} samples in {d} dimensions make the covariance rank-deficient.")
    if least < ENOUGH:
        found.append(f"n < {ENOUGH}: with {least} samples the bias of the distance, a constant over n, is not small.")
    if len(set(counts)) > 1:
        sizes = ", ".join(map(str, counts))
        found.append(f"Unequal n: the sets hold {sizes} samples; distances compare at equal n only.")
    if reference.count is not None and reference.count < least:
        found.append(f"Unequal n: the reference holds {reference.count} images, fewer than the {least} samples.")
    if real_features is not None:
        found += _on_neighbours(least, real_features)
    labels = sets[0][1]
    if labels is not None and len(labels):
        found += _on_classes(labels)
    if len(sets) < SEEDS:
        found.append(f"Spread: {len(sets)} generation seed(s); {SEEDS} or more show how far chance moves a score.")
    return found


def _on_neighbours(samples: int, real: int) -> list[str]:
    found = []
    if min(samples, real) <= NEAREST:
        found.append(
            f"Neighbours: no precision and recall of {samples} samples and {real} real images; they look at "
            f"{NEAREST} neighbours in each set, so {NEAREST + 1} or more are needed."
        )
    if real <= NEAREST_REAL:
        found.append(
            f"Neighbours: no density and coverage with {real} real images; they look at {NEAREST_REAL} neighbours, "
            f"so {NEAREST_REAL + 1} or more are needed."
        )
    return found


def _on_classes(labels: Tensor) -> list[str]:
    counts = labels.bincount()
    counts = counts[counts > 0]
    least, most = int(counts.min()), int(counts.max())
    found = [f"Class imbalance: between {least} and {most} samples of a class."] if least != most else []
    if len(counts) > 1 and bool((labels.diff() >= 0).all()):
        found.append(
            "Order: samples are sorted by class; the Inception score is of shuffled ones, ADM's own would shrink."
        )
    return found
