"""The schedule of scales: what is a schedule, where its tokens lie, who attends to whom."""

import re

import jaxtyping
import numpy as np
import pytest
import torch
from annotations import unchecked

from var.errors import UserError
from var.scales import ScaleSchedule, block_causal_mask

SQUARE = ScaleSchedule((1, 2, 4))
RECTANGULAR = ScaleSchedule(((1, 2), (2, 2), (3, 5)))


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ((), "at least one side, got none"),
        ((0, 1), "positive whole number.*got 0"),
        ((1, -2), "positive whole number.*got -2"),
        ((1, 2, 2), "must grow from coarse to fine, got 2x2 before 2x2"),
        ((4, 2), "must grow from coarse to fine, got 4x4 before 2x2"),
        (((1, 2), (2, 1)), "must grow from coarse to fine, got 1x2 before 2x1"),
        (((2, 2), 2), "must grow from coarse to fine, got 2x2 before 2x2"),
        ((True, 2), "positive whole number.*got True"),
        (((1, True),), "positive whole number.*got "),
        (((1, 2, 3),), "positive whole number.*got "),
        (((2,), (3,)), "positive whole number.*got "),
        (((1, 0), (2, 2)), "positive whole number.*got "),
        ((1.0, 2), "positive whole number.*got 1.0"),
        (("1", "2"), "positive whole number.*got '1'"),
    ],
)
def test_impossible_schedules_are_refused_in_one_line(sides, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users meet our message, not the type checker's
    with pytest.raises(UserError, match=message) as caught:
        ScaleSchedule(sides)
    assert "\n" not in str(caught.value)


def test_a_side_may_have_several_maps_which_are_scales_like_the_others():
    scales = ScaleSchedule((1, (1, 2), 2), repeats=(2, 1, 3))
    assert scales.shapes == ((1, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 2))
    assert scales.maps == (1, 1, (1, 2), 2, 2, 2)
    assert (len(scales), scales.length) == (6, 16)
    tokens = torch.arange(32).view(2, 16)
    assert torch.equal(scales.flatten(scales.split(tokens)), tokens)
    mask = block_causal_mask(scales)
    assert not mask[8:12, 12:].any()  # the maps of one side do not see the later ones
    assert mask[12:].all()


@pytest.mark.parametrize("repeats", [(0, 1), (1, -1), (1, 10**6), (2,), (1, 2, 3), (1, 1.0)])
def test_impossible_repeats_are_refused(repeats, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=re.escape(f"got {repeats}; leave it empty")):
        ScaleSchedule((1, 2), repeats)


def test_schedules_may_grow_in_one_direction_only():
    assert ScaleSchedule(((1, 1), (1, 2), (1, 5), (2, 5))).lengths == (1, 2, 5, 10)


@pytest.mark.parametrize(
    ("sides", "length"),
    [
        ((1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 680),
        ((1, 2, 3, 4, 6, 9, 13, 18, 24, 32), 2240),
        ((1, 2, 3, 4), 30),
        ((7,), 49),
    ],
)
def test_number_of_tokens(sides, length):
    scales = ScaleSchedule(sides)
    assert scales.length == length
    assert len(scales) == len(sides)
    assert scales.shapes == tuple((side, side) for side in sides)


def test_places_of_a_square_schedule():
    assert SQUARE.lengths == (1, 4, 16)
    assert list(SQUARE.slices()) == [slice(0, 1), slice(1, 5), slice(5, 21)]
    assert SQUARE.scale_index().tolist() == [0] + [1] * 4 + [2] * 16


def test_places_of_a_rectangular_schedule():
    assert RECTANGULAR.shapes == ((1, 2), (2, 2), (3, 5))
    assert list(RECTANGULAR.slices()) == [slice(0, 2), slice(2, 6), slice(6, 21)]
    assert RECTANGULAR.scale_index().tolist() == [0] * 2 + [1] * 4 + [2] * 15


def test_flatten_goes_scale_by_scale_and_row_by_row():
    first, second = torch.tensor([[[7, 8]]]), torch.tensor([[[0, 1, 2], [3, 4, 5]]])
    scales = ScaleSchedule(((1, 2), (2, 3)))
    assert scales.flatten([first, second]).tolist() == [[7, 8, 0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("scales", [SQUARE, RECTANGULAR])
def test_split_is_the_inverse_of_flatten(scales):
    tokens = torch.arange(3 * scales.length).view(3, -1)
    token_maps = scales.split(tokens)
    assert [tuple(token_map.shape) for token_map in token_maps] == [(3, *shape) for shape in scales.shapes]
    assert torch.equal(scales.flatten(token_maps), tokens)


def test_flatten_and_split_refuse_what_is_of_another_schedule():
    token_maps = SQUARE.split(torch.zeros(1, 21, dtype=torch.long))
    with pytest.raises(UserError, match=re.escape("got ((1, 1), (2, 2))")):
        SQUARE.flatten(token_maps[:2])
    with pytest.raises(UserError, match="must have the shapes"):
        RECTANGULAR.flatten(token_maps)
    with pytest.raises(UserError, match="has length 21, got 20"):
        SQUARE.split(torch.zeros(1, 20, dtype=torch.long))


def test_block_causal_mask_by_hand():
    expected = """
        1 0 0 0 0 0 0
        1 1 1 0 0 0 0
        1 1 1 0 0 0 0
        1 1 1 1 1 1 1
        1 1 1 1 1 1 1
        1 1 1 1 1 1 1
        1 1 1 1 1 1 1
    """
    rows = [[entry == "1" for entry in line.split()] for line in expected.strip().splitlines()]
    assert block_causal_mask(ScaleSchedule((1, (1, 2), 2))).tolist() == rows
    for row in rows[3:]:
        row[0] = False  # two maps before
    assert block_causal_mask(ScaleSchedule((1, (1, 2), 2)), window=1).tolist() == rows


def test_the_sequence_can_be_laid_out_without_memory():
    with torch.device("meta"):
        mask = block_causal_mask(SQUARE)
    assert mask.shape == (21, 21)
    assert mask.is_meta


def test_a_schedule_is_a_value():
    assert ScaleSchedule((1, 2, 4)) == SQUARE
    assert hash(ScaleSchedule((1, 2, 4))) == hash(SQUARE)
    assert ScaleSchedule((1, 2)) != SQUARE
    with pytest.raises(AttributeError):
        SQUARE.sides = (1,)


def test_sides_of_numpy_are_whole_numbers_too():
    with unchecked():
        schedule = ScaleSchedule(np.array([1, 2, 4]))
    assert schedule == ScaleSchedule((1, 2, 4))
    assert all(type(side) is int for side in schedule.sides)
    for sides in (4, None, [1, 2.0], [True], "12", [(1, 2, 3)], [0], [np.float64(1)]):
        with unchecked(), pytest.raises(UserError, match="side"):
            ScaleSchedule(sides)
