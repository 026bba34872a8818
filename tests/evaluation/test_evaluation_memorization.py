import numpy as np
import pytest

from var.errors import UserError
from var.evaluation.metrics.memorization import memorization

TRAIN = np.array([[0.0], [10.0]])


def test_every_pair_of_a_sample_and_a_test_image_counts():
    found = memorization(np.array([[1.0], [8.0], [3.0]]), np.array([[2.0], [-4.0]]), TRAIN)
    # Distances 1, 2, 3 against 2, 4: the pairs give 1 + 1, 1/2 + 1, 0 + 1 of 6.
    assert found.median == 2
    assert found.test_median == 3
    assert found.closer_share == pytest.approx(4.5 / 6)


def test_copies_are_closer_than_any_test_image_and_test_images_are_not():
    random = np.random.default_rng(0)
    train, test, other = random.standard_normal((3, 200, 8))
    assert memorization(train, test, train).closer_share == 1
    assert memorization(other, test, train).closer_share == pytest.approx(0.5, abs=0.08)


def test_empty_sets_are_refused():
    with pytest.raises(UserError, match="got 0 and 2"):
        memorization(TRAIN[:0], TRAIN, TRAIN)
    with pytest.raises(UserError, match="references must hold at least 1"):
        memorization(TRAIN, TRAIN, TRAIN[:0])
