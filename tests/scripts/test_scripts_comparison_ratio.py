"""FDr against closed forms: of Gaussians in one dimension a Frechet distance is (mean gap)^2 + (deviation gap)^2."""

import pytest
import torch
from comparison.ratio import distance_ratio, subsets

from var.evaluation import Statistics

LABELS = torch.zeros(4, dtype=torch.long)


def features(mean, deviation):
    """Four numbers of just this mean and standard deviation (divisor n - 1)."""
    unit = torch.tensor([-1.0, -1.0, 1.0, 1.0]) * (3 / 4) ** 0.5
    return (mean + deviation * unit)[:, None].double()


def test_it_is_the_ratio_of_both_distances():
    reference = Statistics.from_features(features(0, 1))
    found = distance_ratio(features(2, 4), LABELS, features(1, 1.5), LABELS, reference)
    assert found is not None
    assert found[0] == pytest.approx((4 + 9) / (1 + 0.25))
    assert found[1] == pytest.approx(1 + 0.25)


def test_real_images_are_as_far_as_real_ones():
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (400, 400, 4000)]
    labels = [torch.arange(len(draw)) % 2 for draw in draws]
    found = distance_ratio(draws[0], labels[0], draws[2], labels[2], Statistics.from_features(draws[1]))
    assert found is not None
    assert 0.25 < found[0] < 4  # of unlike ones it is thousands


def test_both_give_as_many_of_each_class_as_the_scarcer_has():
    """Of 6 and 2 samples, and 3 and 8 others, each gives 3 and 2; the mean is over disjoint subsets."""
    own, others = torch.tensor([0] * 6 + [1] * 2), torch.tensor([0] * 3 + [1] * 8)
    counts = torch.tensor([3, 2])
    for labels, draws in ((own, 1), (others, 1), (torch.tensor([0, 0, 0, 1, 1] * 4), 4)):
        found = subsets(labels, counts)
        assert len(found) == draws
        assert all(torch.bincount(labels[places]).tolist() == [3, 2] for places in found)
        assert len(torch.cat(list(found)).unique()) == 5 * draws
    assert len(subsets(torch.tensor([0] * 100), torch.tensor([2]))) == 8


def test_without_a_class_in_both_there_is_none():
    reference = Statistics.from_features(features(0, 1))
    assert distance_ratio(features(0, 1), LABELS, features(0, 1), LABELS + 1, reference) is None
