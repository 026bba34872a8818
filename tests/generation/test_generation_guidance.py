"""Guidance scales over the scales."""

import pytest

from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.sampling.numbers import updated


def scales_of(scale, schedule, scales):
    told = {"guidance_scale": scale, "guidance_schedule": schedule}
    return updated(SamplingSettings(), SamplingSettings, told).guidance_scales(scales)


def test_constant_and_listed_scales():
    assert scales_of(2.5, "constant", 3) == [2.5, 2.5, 2.5]
    assert scales_of([1.0, 0.0, 4.0], "constant", 3) == [1.0, 0.0, 4.0]
    assert scales_of((1, 2), "linear", 2) == [1.0, 2.0]


def test_the_linear_ramp_goes_from_one_to_the_scale():
    assert scales_of(3.0, "linear", 5) == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert scales_of(0.0, "linear", 3) == [1.0, 0.5, 0.0]
    assert scales_of(1.0, "linear", 4) == [1.0] * 4
    assert scales_of(3.0, "linear", 1) == [1.0]


def test_the_ramp_is_that_of_the_published_sampler():
    # Published: (1 + t) cond - t null with t = cfg * k / (K - 1); ours: null + gamma (cond - null), gamma = 1 + t.
    cfg, scales = 1.5, 10
    assert scales_of(1 + cfg, "linear", scales) == pytest.approx([1 + cfg * k / 9 for k in range(10)])


def test_unknown_schedules_and_lists_of_another_length():
    with pytest.raises(UserError, match="unknown guidance_schedule 'lineer'; did you mean 'linear'"):
        scales_of(2.0, "lineer", 3)
    with pytest.raises(UserError, match="one for each of 3 scales, got 2"):
        scales_of([1.0, 2.0], "constant", 3)


def test_what_an_image_costs_counts_the_passes_of_each_map_and_twice_those_up_to_the_last_guided_one():
    assert SamplingSettings(guidance_scale=1.0).evaluations((1, 1, 1)) == 3
    assert SamplingSettings(guidance_scale=3.0, guidance_schedule="constant").evaluations((1, 1, 2, 2)) == 12
    assert SamplingSettings(guidance_scale=(1.0, 2.0, 1.0, 1.0)).evaluations((1, 1, 2, 2)) == 8
