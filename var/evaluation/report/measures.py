"""The scores of a report: names, better direction, format and meaning, in the order in which they are shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from var.quantities import fixed, significant


@dataclass(frozen=True, slots=True)
class Measure:
    """One score, a field of `Scores`."""

    key: str
    title: str
    better: Literal["lower", "higher"] | None
    show: Callable[[float], str]
    meaning: str


def measures(distance: str) -> list[Measure]:
    """All scores; `distance` is FID or FD-name."""
    spatial = "sFID" if distance == "FID" else f"s{distance}"
    exact, share, plain = fixed(3), fixed(3), significant
    return [
        Measure("fd", distance, "lower", exact, "Frechet distance to the reference"),
        Measure("fd_infinity", f"{distance}, n -> inf", "lower", exact, "extrapolated to infinitely many samples"),
        Measure("fd_infinity_error", "  its error", None, exact, "standard error of the extrapolation"),
        Measure("fd_infinity_slope", "  its slope", None, plain, "what the distance gains by a finite n, times n"),
        Measure("fd_second", f"{distance}, second", "lower", exact, "in the features of a network used for no choice"),
        Measure("sfd", spatial, "lower", exact, "Frechet distance of an inner map, which sees places"),
        Measure("kd", "KD", "lower", plain, "kernel distance, unbiased, of all pairs"),
        Measure("kd_subsets", "KD, subsets", "lower", plain, "mean over 100 subsets of 1000, as published"),
        Measure("inception_score_splits", "IS, 10 splits", "higher", fixed(2), "Inception score of shuffled splits"),
        Measure("inception_score", "IS", "higher", fixed(2), "Inception score of all samples at once"),
        Measure("sharpness", "Sharpness", "higher", share, "how sure the classifier is of each image, 1 at best"),
        Measure("diversity", "Diversity", "higher", fixed(2), "effective number of classes among all images"),
        Measure("precision", "Precision", "higher", share, "share of samples that lie among the real"),
        Measure("recall", "Recall", "higher", share, "share of real images that lie among the samples"),
        Measure("density", "Density", "higher", share, "how many real balls a sample lies in, 1 as real"),
        Measure("coverage", "Coverage", "higher", share, "share of real balls that hold a sample"),
        Measure("class_consistency", "Class consistency", "higher", share, "share predicted as the class asked for"),
        Measure("nearest_train_distance", "Nearest train", None, fixed(2), "median distance to a training image"),
        Measure(
            "closer_share",
            "Closer than test",
            None,
            share,
            "chance to lie nearer than a test image; 0.5: as real",
        ),
    ]
