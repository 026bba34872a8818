import numpy as np
import pytest

from var.errors import UserError
from var.evaluation import RankDeficientWarning, Statistics, frechet_distance


def gaussian(mean, cov) -> Statistics:
    mean = np.atleast_1d(np.asarray(mean, dtype=np.float64))
    return Statistics(10_000, mean, np.atleast_2d(np.asarray(cov, dtype=np.float64)))


def random_covariance(d: int, seed: int, smallest: float = 0.1) -> np.ndarray:
    random = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(random.standard_normal((d, d)))
    return basis * np.geomspace(smallest, 10, d) @ basis.T


def test_one_dimension_is_the_distance_of_means_and_deviations():
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet_distance(gaussian(1, 4), gaussian(3, 9)) == pytest.approx(4 + 1, rel=1e-14)


def test_covariances_that_commute_need_no_matrix_root():
    a, b = np.geomspace(1e-6, 1e3, 40), np.geomspace(10, 1e-4, 40)
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum() + 40 * 0.25
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))
    plain = frechet_distance(gaussian(np.zeros(40), np.diag(a)), gaussian(np.full(40, 0.5), np.diag(b)))
    turned = frechet_distance(
        gaussian(np.zeros(40), turn * a @ turn.T), gaussian(turn @ np.full(40, 0.5), turn * b @ turn.T)
    )
    assert plain == pytest.approx(expected, rel=1e-13)
    assert turned == pytest.approx(expected, rel=1e-10)


def test_a_linear_map_of_a_gaussian_is_as_far_as_optimal_transport_says():
    # For a symmetric positive map T, the optimal transport of N(0, A) to N(0, T A T) is T itself: the cost is
    # tr((T - 1) A (T - 1)).
    a, t = random_covariance(12, 1), random_covariance(12, 2)
    expected = np.trace((t - np.eye(12)) @ a @ (t - np.eye(12)))
    assert frechet_distance(gaussian(np.zeros(12), a), gaussian(np.zeros(12), t @ a @ t)) == pytest.approx(
        expected, rel=1e-10
    )


@pytest.mark.parametrize("smallest", [1.0, 1e-6, 1e-14, 1e-20])
def test_equal_sets_are_at_zero(smallest):
    a = gaussian(np.ones(30), random_covariance(30, 3, smallest))
    assert 0 <= frechet_distance(a, a) < 2e-6


def test_it_is_symmetric_and_grows_with_scale_squared():
    a, b = gaussian(np.zeros(9), random_covariance(9, 4)), gaussian(np.ones(9), random_covariance(9, 5))
    large = [Statistics(s.count, s.mean * 1e3, s.cov * 1e6) for s in (a, b)]
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(*large) == pytest.approx(frechet_distance(a, b) * 1e6, rel=1e-12)


def test_dead_dimensions_add_nothing_but_their_means():
    a, b = random_covariance(6, 6), random_covariance(6, 7)
    padded = [np.pad(cov, (0, 3)) for cov in (a, b)]
    short = frechet_distance(gaussian(np.zeros(6), a), gaussian(np.zeros(6), b))
    long = frechet_distance(gaussian(np.zeros(9), padded[0]), gaussian(np.r_[np.zeros(8), 2], padded[1]))
    assert long == pytest.approx(short + 4, rel=1e-12)


def test_a_dimension_of_tiny_variance_is_not_taken_for_noise():
    a, b = np.diag([1e12, 1e-12]), np.diag([1e12, 9e-12])
    # (3e-6 - 1e-6)^2 lies below the rounding of the traces; the root of the tiny dimension does not vanish, though.
    assert frechet_distance(gaussian([0, 0], a), gaussian([0, 0], b)) < 1e-3
    small = frechet_distance(gaussian([0, 0], np.diag([1.0, 1e-18])), gaussian([0, 0], np.diag([0.0, 1e-18])))
    assert small == pytest.approx(1.0, rel=1e-15)


def test_a_collapsed_set_leaves_the_variance_of_the_other():
    random = np.random.default_rng(8)
    real = Statistics.from_features(random.standard_normal((50, 4)))
    collapsed = Statistics.from_features(np.full((50, 4), 0.3, np.float32))
    expected = ((real.mean - collapsed.mean) ** 2).sum() + np.trace(real.cov)
    assert frechet_distance(real, collapsed) == pytest.approx(expected, rel=1e-13)
    assert frechet_distance(collapsed, collapsed) == 0


def test_unequal_sizes_and_offsets():
    random = np.random.default_rng(9)
    real, fake = random.standard_normal((900, 5)), 1.5 * random.standard_normal((300, 5))
    near = frechet_distance(Statistics.from_features(real), Statistics.from_features(fake))
    far = frechet_distance(Statistics.from_features(real + 1e5), Statistics.from_features(fake + 1e5))
    assert far == pytest.approx(near, rel=1e-8)


def test_it_agrees_with_the_libraries_at_full_rank(cases, arrays):
    case = cases["features"]["full_rank_2000x64"]
    sets = arrays(case["file"])
    real, fake = (Statistics.from_features(sets[name]) for name in ("real", "fake"))
    assert frechet_distance(real, fake) == pytest.approx(case["fid"]["expected"], rel=1e-12)
    assert frechet_distance(fake, real) == pytest.approx(case["fid"]["expected"], rel=1e-12)
    assert ((real.mean - fake.mean) ** 2).sum() == pytest.approx(case["fid_means_term"], rel=1e-12)


def test_it_agrees_with_the_nuclear_norm_where_rank_is_missing(cases, arrays):
    case = cases["features"]["rank_deficient_100x128"]
    sets = arrays(case["file"])
    real, fake = (Statistics.from_features(sets[name]) for name in ("real", "fake"))
    with pytest.warns(RankDeficientWarning, match="100 samples in 128 dimensions"):
        distance = frechet_distance(real, fake)
    assert distance == pytest.approx(case["fid"]["expected"], abs=1e-10)
    with pytest.warns(RankDeficientWarning):
        assert 0 <= frechet_distance(real, real) < 1e-10


def test_it_agrees_on_reference_files(cases, arrays, shared_cases):
    case = cases["stats_file"]
    fake = arrays("full_rank_2000x64.npz")["fake"]
    path = shared_cases / "eval" / case["file"]
    assert frechet_distance(Statistics.load(path), Statistics.from_features(fake)) == pytest.approx(
        case["check"], rel=1e-12
    )
    spatial = Statistics.load(path, spatial=True)
    assert frechet_distance(spatial, Statistics.from_features(fake[:, case["perm"]])) == pytest.approx(
        case["sfid_vs_permuted_fake"], rel=1e-12
    )
    assert frechet_distance(spatial, Statistics.from_features(fake)) == pytest.approx(
        case["sfid_if_layout_wrong"], rel=1e-12
    )


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_are_refused(n):
    few, enough = (Statistics.from_features(np.random.default_rng(0).standard_normal((k, 3))) for k in (n, 9))
    with pytest.raises(UserError, match=f"at least 2 samples, the second set has {n}"):
        frechet_distance(enough, few)
    with pytest.raises(UserError, match=f"at least 2 samples, the first set has {n}"):
        frechet_distance(few, enough)


def test_as_many_samples_as_dimensions_warn():
    few, enough = (Statistics.from_features(np.random.default_rng(0).standard_normal((k, 3))) for k in (3, 4))
    with pytest.warns(RankDeficientWarning, match="second set"):
        frechet_distance(enough, few)
    frechet_distance(enough, enough)  # a warning would be an error here


def test_other_bad_input_is_refused():
    with pytest.raises(UserError, match="got 2 and 3"):
        frechet_distance(gaussian(np.zeros(2), np.eye(2)), gaussian(np.zeros(3), np.eye(3)))
    with pytest.raises(UserError, match="negative eigenvalues"):
        frechet_distance(gaussian([0, 0], [[1, 2], [2, 1]]), gaussian([0, 0], np.eye(2)))
