import math

import pytest
from comparison.report.fairness import equal_distance, equal_time, speed_ratio


def row(fd, seconds):
    return {"fd": fd, "seconds_per_1000_images": seconds}


DIFFUSION = [row(0.8, 1.0), row(0.4, 4.0), row(0.2, 16.0), row(0.9, 20.0)]


def test_the_best_within_a_time():
    assert equal_time(DIFFUSION, 5) == row(0.4, 4.0)
    assert equal_time(DIFFUSION, 100) == row(0.2, 16.0)
    assert equal_time(DIFFUSION, 0.5) is None


def test_without_noise_the_ratio_is_the_interpolated_one():
    found = speed_ratio(row(0.6, 0.5), DIFFUSION)
    assert found is not None
    # Halfway between the distances of 1 s and 4 s, in the logarithm of time.
    assert found.ratio == pytest.approx(2 / 0.5)
    assert found.low == found.high == pytest.approx(found.ratio)
    assert found.reached == 1
    cost = equal_distance(DIFFUSION, 0.6)
    assert cost is not None
    assert cost.seconds == pytest.approx(2)


def test_noise_of_the_own_distance_spreads_the_ratio_as_the_front_is_steep():
    deviation = 0.05
    found = speed_ratio(row(0.6, 1.0), DIFFUSION, deviations=(deviation, 0))
    assert found is not None
    # log(seconds) falls by log 4 for 0.4 of distance.
    expected = deviation * 0.6 * math.log(4) / 0.4
    assert math.log(found.high / found.ratio) == pytest.approx(expected, rel=0.15)
    assert math.log(found.ratio / found.low) == pytest.approx(expected, rel=0.15)
    assert found == speed_ratio(row(0.6, 1.0), DIFFUSION, deviations=(deviation, 0))
    wider = speed_ratio(row(0.6, 1.0), DIFFUSION, deviations=(deviation, deviation))
    assert wider is not None
    assert wider.high / wider.low > found.high / found.low


def test_what_is_hardly_reached_says_so():
    found = speed_ratio(row(0.2, 1.0), DIFFUSION, deviations=(0.1, 0))
    assert found is not None
    assert found.reached == pytest.approx(0.5, abs=0.08)
    assert speed_ratio(row(0.1, 1.0), DIFFUSION, deviations=(0.1, 0)) is None
