import pytest
import torch

from var.data import Compose, HorizontalFlip, Shift
from var.errors import UserError

IMAGE = torch.linspace(-1, 1, 3 * 4 * 5).reshape(3, 4, 5)


def draws(augment, count=200):
    generator = torch.Generator().manual_seed(0)
    return [augment(IMAGE, generator) for _ in range(count)]


def test_shift_gives_every_move_and_fills_what_comes_into_view():
    expected = []
    wide = torch.full((3, 6, 7), -0.25)
    wide[:, 1:5, 1:6] = IMAGE
    for top in range(3):
        expected += [wide[:, top : top + 4, left : left + 5] for left in range(3)]
    seen = {tuple(image.flatten().tolist()) for image in draws(Shift(1, fill=-0.25))}
    assert seen == {tuple(image.flatten().tolist()) for image in expected}


def test_shift_repeats_the_border_by_default():
    moved = draws(Shift(2))
    assert all(set(image.flatten().tolist()) <= set(IMAGE.flatten().tolist()) for image in moved)
    upward = torch.cat([IMAGE[:, 2:], IMAGE[:, 3:], IMAGE[:, 3:]], dim=1)
    assert any(torch.equal(image, upward) for image in moved)
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 25


def test_shift_by_nothing_changes_nothing():
    assert all(torch.equal(image, IMAGE) for image in draws(Shift(0), 3) + draws(Shift(0, fill=0.0), 3))


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (1.0, 200, 200), (0.5, 70, 130)])
def test_flip_happens_as_often_as_asked(probability, low, high):
    images = draws(HorizontalFlip(probability))
    flipped = sum(torch.equal(image, IMAGE.flip(-1)) for image in images)
    assert flipped + sum(torch.equal(image, IMAGE) for image in images) == 200
    assert low <= flipped <= high


def test_compose_applies_in_order_from_one_stream():
    both = Compose([HorizontalFlip(1.0), Shift(1, fill=0.0)])
    expected = Shift(1, fill=0.0)(IMAGE.flip(-1), skip_one(torch.Generator().manual_seed(4)))
    assert torch.equal(both(IMAGE, torch.Generator().manual_seed(4)), expected)
    assert repr(both) == "Compose([HorizontalFlip(probability=1.0), Shift(pixels=1, fill=0.0)])"


def skip_one(generator):
    torch.rand((), generator=generator)
    return generator


def test_augmentations_leave_their_input_and_the_global_stream_alone():
    before, state = IMAGE.clone(), torch.random.get_rng_state()
    draws(Compose([HorizontalFlip(), Shift(1), Shift(1, fill=-1)]), 20)
    assert torch.equal(IMAGE, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_impossible_augmentations():
    with pytest.raises(UserError, match="a shift must be 0 or more pixels, got -1"):
        Shift(-1)
    with pytest.raises(UserError, match="a shift must be smaller than the image, got 4 for 4x5"):
        draws(Shift(4, fill=0.0), 1)
    with pytest.raises(UserError, match=r"probability must lie in \[0, 1\], got 1.5"):
        HorizontalFlip(1.5)
