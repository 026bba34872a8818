"""FDr: the distance of samples over that of other real images, at equal n and equal shares of the classes."""

from collections.abc import Sequence
from statistics import fmean

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.evaluation import Statistics, frechet_distance
from var.randomness import keyed_generator

MOST_DRAWS = 8


def distance_ratio(
    samples: Float[Tensor, "n dimensions"],
    labels: Int64[Tensor, " n"],
    others: Float[Tensor, "m dimensions"],
    other_labels: Int64[Tensor, " m"],
    reference: Statistics,
) -> tuple[float, float] | None:
    """FD(samples, reference) / FD(other real images, reference), and its denominator; features of one network.

    Of each class both give as many as the scarcer of them has, so that the bias of a finite n is the same; the mean
    over as many disjoint subsets as there are, at most 8 of each. None where no class is in both.
    """
    counts = torch.minimum(_counts(labels, other_labels), _counts(other_labels, labels))
    if int(counts.sum()) < 2:
        return None
    above, below = (
        fmean(
            frechet_distance(reference, Statistics.from_features(features[places])) for places in subsets(own, counts)
        )
        for features, own in ((samples, labels), (others, other_labels))
    )
    return (above / below, below) if below > 0 else None


def subsets(labels: Int64[Tensor, " n"], counts: Int64[Tensor, " classes"]) -> Sequence[Int64[Tensor, " some"]]:
    """Disjoint sets of places with `counts` of each class: as many as there are, at most 8; drawn by a fixed key."""
    members = {}
    for label in torch.nonzero(counts).flatten().tolist():
        found = torch.nonzero(labels == label).flatten()
        order = torch.randperm(len(found), generator=keyed_generator("equal shares", label))
        members[label] = found[order]
    draws = min(MOST_DRAWS, *(len(found) // int(counts[label]) for label, found in members.items()))
    return [
        torch.cat([found[draw * int(counts[label]) :][: int(counts[label])] for label, found in members.items()])
        for draw in range(draws)
    ]


def _counts(labels: Tensor, others: Tensor) -> Tensor:
    return torch.bincount(labels, minlength=1 + int(max(labels.max(), others.max())))
