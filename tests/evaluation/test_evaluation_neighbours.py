import tracemalloc

import numpy as np
import pytest
import torch

from var.errors import UserError
from var.evaluation import density_coverage, nearest_distance, precision_recall
from var.evaluation.metrics import neighbours


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sqrt(((x[:, None] - y) ** 2).sum(-1))

    def covered(queries: np.ndarray, references: np.ndarray) -> float:
        radii = np.sort(distances(references, references))[:, k]
        return (distances(queries, references) <= radii).any(1).mean()

    return covered(fake, real), covered(real, fake)


def test_points_on_a_line_by_hand():
    real = np.array([[0.0], [1.0], [3.0], [7.0]])  # radii for k = 1: 1, 1, 2, 4
    fake = np.array([[-1.0], [5.0], [11.0], [11.5]])  # radii: 6, 6, 0.5, 0.5
    # -1 touches the ball of 0, 5 that of 3, 11 that of 7; 11.5 is outside. All of real is in the ball of 5.
    assert precision_recall(real, fake, k=1) == (0.75, 1.0)
    assert precision_recall(real, fake[2:], k=1) == (0.5, 0.0)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e7])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_it_is_the_definition(offset, k):
    random = np.random.default_rng(0)
    real = random.standard_normal((150, 6)) + offset
    fake = 0.8 * random.standard_normal((90, 6)) + 0.5 + offset
    assert precision_recall(real, fake, k) == by_definition(real, fake, k)


def test_far_clusters_do_not_blur_near_ones():
    random = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [1e9, 0.0]])
    real = centres[random.integers(2, size=80)] + random.standard_normal((80, 2))
    fake = centres[random.integers(2, size=60)] + 2 * random.standard_normal((60, 2))
    assert precision_recall(real, fake) == by_definition(real, fake, 3)


def test_equal_and_collapsed_sets_cover_each_other():
    random = np.random.default_rng(2)
    points = random.standard_normal((40, 30)) + 1e3
    assert precision_recall(points, points[::-1].copy()) == (1.0, 1.0)
    collapsed = np.full((40, 3), 0.1)
    assert precision_recall(collapsed, collapsed) == (1.0, 1.0)
    spread = np.c_[random.standard_normal((40, 2)), np.full(40, 0.1)]
    assert precision_recall(spread, np.repeat(spread[:1], 20, axis=0)) == (1.0, 1 / 40)


def test_a_copy_of_the_neighbour_that_sets_the_radius_is_inside():
    random = np.random.default_rng(3)
    real = random.standard_normal((30, 40)) / 3 + 77
    # One ball alone: its border goes through its third neighbour, of which the fakes are copies.
    distances = ((real[:1] - real) ** 2).sum(1)
    border = real[np.argsort(distances)[3]]
    precision, _ = precision_recall(real, np.tile(border, (5, 1)))
    assert precision == 1.0


def test_chunks_do_not_matter(monkeypatch):
    random = np.random.default_rng(4)
    real, fake = random.standard_normal((70, 4)), random.standard_normal((50, 4))
    whole = precision_recall(real, fake), nearest_distance(fake, real)
    monkeypatch.setattr(neighbours, "_ENTRIES", 500)
    monkeypatch.setattr(neighbours, "_ROWS", 1)
    parts = precision_recall(real, fake), nearest_distance(fake, real)
    assert whole[0] == parts[0]
    assert (whole[1] == parts[1]).all()


@pytest.mark.parametrize("name", ["full_rank_2000x64", "rank_deficient_100x128"])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_it_agrees_with_the_libraries(cases, arrays, name, offset):
    case = cases["features"][name]
    sets = arrays(case["file"])
    real, fake = (torch.from_numpy(sets[key]).double() + offset for key in ("real", "fake"))
    expected = case["prc_k3"]["precision"], case["prc_k3"]["recall"]
    assert precision_recall(real, fake) == pytest.approx(expected, abs=1e-12)


def test_nearest_distances_are_exact():
    random = np.random.default_rng(5)
    references = random.standard_normal((80, 6)) + 1e6
    queries = np.r_[references[5:6], random.standard_normal((20, 6)) + 1e6]
    expected = np.sqrt(((queries[:, None] - references) ** 2).sum(-1)).min(1)
    found = nearest_distance(queries, torch.from_numpy(references))
    assert found[0] == 0
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert nearest_distance(queries[:0], references).shape == (0,)


def test_bad_input_is_refused():
    points = np.random.default_rng(6).standard_normal((5, 3))
    with pytest.raises(UserError, match="smaller set less one, 2, got 3"):
        precision_recall(points, points[:3])
    with pytest.raises(UserError, match="got 0"):
        precision_recall(points, points, k=0)
    with pytest.raises(UserError, match="fake must hold at least 2 rows, got 1"):
        precision_recall(points, points[:1])
    with pytest.raises(UserError, match="same dimensions, got 3 and 2"):
        precision_recall(points, points[:, :2])
    with pytest.raises(UserError, match="real must be finite"):
        precision_recall(points * np.inf, points)
    with pytest.raises(UserError, match="references must hold at least 1 rows"):
        nearest_distance(points, points[:0])
    with pytest.raises(UserError, match="queries and references must have the same dimensions, got 3 and 2"):
        nearest_distance(points, points[:, :2])


class TestDensityCoverage:
    def test_hand_counted(self):
        # Balls around 0, 1, 3 with k = 1: radii 1, 1, 2. The fake at 0.5 is in two, 2.5 in one, 9 in none.
        real, fake = (np.array(x)[:, None] for x in ([0.0, 1.0, 3.0], [0.5, 2.5, 9.0]))
        assert density_coverage(real, fake, k=1) == (pytest.approx(3 / 3), pytest.approx(3 / 3))
        assert density_coverage(real, fake[1:], k=1) == (pytest.approx(1 / 2), pytest.approx(1 / 3))

    def test_the_border_does_not_count(self):
        real = np.array([[0.0], [1.0], [3.0], [4.0]])
        assert density_coverage(real, np.array([[-1.0]]), k=1) == (0, 0)
        assert density_coverage(real, np.array([[-0.9999]]), k=1) == (1, 0.25)

    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_it_is_the_formula_in_direct_differences(self, offset):
        random = np.random.default_rng(2)
        real, fake = random.standard_normal((150, 4)) + offset, 0.7 * random.standard_normal((90, 4)) + offset
        radii = np.sort(np.linalg.norm(real[:, None] - real, axis=-1), axis=1)[:, 5]
        inside = np.linalg.norm(fake[:, None] - real, axis=-1) < radii
        expected = inside.sum() / (5 * 90), inside.any(0).mean()
        assert density_coverage(real, fake) == pytest.approx(expected, rel=1e-14)

    def test_the_real_set_itself_is_at_one(self):
        real = np.random.default_rng(3).standard_normal((80, 3))
        assert density_coverage(real, real) == (1, 1)

    def test_bad_input_is_refused(self):
        real = np.zeros((5, 2))
        with pytest.raises(UserError, match=r"k must be from 1 to .* 4, got 5"):
            density_coverage(real, real)
        with pytest.raises(UserError, match="fake must hold at least 1"):
            density_coverage(real, real[:0], k=1)
        with pytest.raises(UserError, match="same dimensions, got 2 and 1"):
            density_coverage(real, real[:, :1], k=1)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage, nearest_distance])
def test_memory_grows_with_the_sets_and_not_with_their_pairs(measure, monkeypatch):
    monkeypatch.setattr(neighbours, "_ENTRIES", 1 << 14)
    monkeypatch.setattr(neighbours, "_ROWS", 1)
    real, fake = np.random.default_rng(0).standard_normal((2, 2000, 4))
    tracemalloc.start()
    measure(real, fake)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2000 * 2000 * 8 / 8


@pytest.mark.parametrize("measure", [precision_recall, density_coverage, nearest_distance])
def test_the_sets_stay_as_they_were(measure):
    real, fake = np.random.default_rng(0).standard_normal((2, 50, 4)) + 5
    before = real.copy(), fake.copy()
    measure(real, torch.from_numpy(fake))
    np.testing.assert_array_equal((real, fake), before)
