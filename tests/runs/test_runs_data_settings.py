"""How the settings of a run vary its images, and numbers that they refuse."""

import pytest

from var.configs import config_to_dict
from var.data import Compose, HorizontalFlip, RandomAffine, RandomCrop, Shift
from var.errors import UserError
from var.runs.settings import DataSettings


def test_images_are_cropped_then_moved_then_mirrored():
    assert DataSettings().augmentation() is None
    assert DataSettings(shift=2).augmentation().steps == (Shift(2),)
    every = DataSettings(crop=1.25, shift=1, affine=0.1, flip=0.5).augmentation()
    assert isinstance(every, Compose)
    assert tuple(every.steps) == (RandomCrop(1.25), Shift(1), RandomAffine(0.1), HorizontalFlip(0.5))


def test_a_shift_is_told_where_it_is_chosen():
    assert "shift" not in config_to_dict(DataSettings())
    assert config_to_dict(DataSettings(shift=1))["shift"] == 1


@pytest.mark.parametrize(("value", "told"), [(-1, "shift must be .*got -1"), (10**5, "shift must be .*got 100000")])
def test_impossible_shifts_are_refused(value, told):
    with pytest.raises(UserError, match=told):
        DataSettings(shift=value)
