import numpy as np
import pytest

from var.errors import UserError
from var.evaluation import Statistics, frechet_distance
from var.evaluation.metrics.frechet_infinity import frechet_infinity


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).standard_normal((1500, 30))


REFERENCE = Statistics(10**9, np.zeros(30), 1.3**2 * np.eye(30))
TRUE = 30 * 0.3**2


def test_it_removes_the_bias_of_a_finite_set(features):
    found = frechet_infinity(REFERENCE, features)
    biased = frechet_distance(REFERENCE, Statistics.from_features(features))
    assert biased > TRUE + 0.1
    assert abs(found.value - TRUE) < 0.3 * (biased - TRUE)
    assert found.slope > 0
    assert 0 < found.error < 0.1


def test_the_slope_is_what_theory_says_of_gaussians():
    # E |m - m'|^2 = d / n, and the deviations add d (d + 1) / (4 n) to first order.
    rows = np.random.default_rng(1).standard_normal((8000, 6))
    truth = Statistics(10**9, np.zeros(6), np.eye(6))
    slopes = [frechet_infinity(truth, rows, smallest=80, seed=seed).slope for seed in range(4)]
    assert np.mean(slopes) == pytest.approx(6 + 6 * 7 / 4, rel=0.25)


def test_the_seed_decides_everything_and_the_last_point_is_the_whole_set(features):
    found = frechet_infinity(REFERENCE, features[:500], seed=3, points=5)
    assert found == frechet_infinity(REFERENCE, features[:500], seed=3, points=5)
    assert found != frechet_infinity(REFERENCE, features[:500], seed=4, points=5)
    assert found.sizes[0] == 60
    assert found.sizes[-1] == 500
    whole = frechet_distance(REFERENCE, Statistics.from_features(features[:500]))
    assert found.distances[-1] == pytest.approx(whole, rel=1e-9)


def test_tiny_sets_and_bad_arguments(features):
    assert frechet_infinity(REFERENCE, features[:4]).sizes[-1] == 4
    for n, arguments, match in (
        (4, {"points": 2}, "at least 3 points, got 2"),
        (4, {"smallest": 4}, "from 2 to 3"),
        (2, {}, "use more"),
    ):
        with pytest.raises(UserError, match=match):
            frechet_infinity(REFERENCE, features[:n], **arguments)
