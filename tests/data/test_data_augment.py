import math

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from var.data import Compose, HorizontalFlip, RandomAffine, RandomCrop, RandomResizedCrop, Shift
from var.data.augment import augment_many, split_framing
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
    with pytest.raises(UserError, match=r"an affine map must move by 0 to 1, got 1\.2"):
        RandomAffine(1.2)
    with pytest.raises(UserError, match=r"an affine map's probability must lie in \[0, 1\], got -0.1"):
        RandomAffine(probability=-0.1)


def generators(count, seed=0):
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


ALL = [Shift(1), Shift(1, fill=0.5), HorizontalFlip(), RandomCrop(1.5), RandomResizedCrop(), RandomAffine(), Shift(0)]


@pytest.mark.parametrize(
    "augment", [*ALL, Compose(ALL), lambda image, generator: -image], ids=lambda augment: type(augment).__name__
)
def test_many_at_once_equal_one_by_one(augment):
    images = torch.rand(9, 3, 6, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1
    many = augment_many(augment, images, generators(9))
    alone = [augment(image, generator) for image, generator in zip(images, generators(9), strict=True)]
    assert many.shape == images.shape
    assert torch.equal(many, torch.stack(alone))


def test_a_random_crop_takes_every_window_of_the_larger_image():
    larger = F.interpolate(IMAGE[None], (6, 8), mode="bicubic", antialias=True)[0].clamp(-1, 1)
    windows = {tuple(larger[:, t : t + 4, le : le + 5].flatten().tolist()) for t in range(3) for le in range(4)}
    seen = [tuple(image.flatten().tolist()) for image in draws(RandomCrop(1.5), 600)]
    assert set(seen) == windows
    counts = torch.tensor([seen.count(window) for window in windows])
    assert (counts - 50).abs().max() < 5 * (600 / 12) ** 0.5
    assert all(torch.equal(image, IMAGE) for image in draws(RandomCrop(1), 3))


def test_a_random_crop_of_a_picture_moves_along_its_longer_side():
    picture = Image.fromarray((torch.arange(40).expand(8, 40) * 6).to(torch.uint8).numpy())
    generator = torch.Generator().manual_seed(0)
    framed = [RandomCrop(1).frame(picture, 8, 8, generator) for _ in range(400)]
    assert all(image.size == (8, 8) for image in framed)
    assert {image.getpixel((0, 0)) // 6 for image in framed} == set(range(33))


def test_a_random_resized_crop_stays_within_area_and_aspect():
    crop, generator = RandomResizedCrop(area=(0.3, 0.6), aspect=(0.5, 2.0)), torch.Generator().manual_seed(0)
    for _ in range(300):
        top, left, height, width = crop._part(200, 300, generator)
        assert 0.29 <= height * width / 60_000 <= 0.61
        assert 0.49 <= width / height <= 2.03
        assert 0 <= top <= 200 - height
        assert 0 <= left <= 300 - width
    assert crop._part(1, 40, generator) == (0, 19, 1, 1)  # nothing fits: the square in the middle
    whole = RandomResizedCrop(area=(1, 1), aspect=(1, 1))
    picture = Image.fromarray(torch.randint(0, 256, (9, 9), generator=generator).to(torch.uint8).numpy())
    expected = picture.resize((4, 5), Image.Resampling.BICUBIC)
    assert list(whole.frame(picture, 5, 4, generator).tobytes()) == list(expected.tobytes())


def test_a_framing_comes_first_or_works_on_the_image():
    crop, flip = RandomCrop(), HorizontalFlip()
    assert split_framing(crop) == (crop, None)
    first, rest = split_framing(Compose([crop, flip]))
    assert first is crop
    assert rest.steps == (flip,)
    for augment in (None, flip, Compose([flip, crop])):
        assert split_framing(augment) == (None, augment)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0.9), r"a crop's scale must lie in \[1, 4\], got 0.9"),
        (lambda: RandomResizedCrop(area=(0, 1)), r"area must lie in \(0, 1\], low before high, got \(0, 1\)"),
        (lambda: RandomResizedCrop(aspect=(2, 1)), r"aspect must be above 0, low before high, got \(2, 1\)"),
    ],
)
def test_impossible_crops(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_random_affine_map_moves_as_far_as_asked_and_as_often():
    y, x = (torch.linspace(1 / 9 - 1, 1 - 1 / 9, 9) for _ in range(2))
    planes = torch.stack((x.expand(9, 9), y[:, None].expand(9, 9))) / 2  # an affine map of a plane is a plane
    generator = torch.Generator().manual_seed(0)
    moved = [RandomAffine(0.1, probability=0.75)(planes, generator) for _ in range(400)]
    assert 270 <= sum(not torch.equal(image, planes) for image in moved) <= 330
    middles = torch.stack([image[:, 4, 4] for image in moved])  # a tenth of the side is 0.2 of [-1, 1], halved here
    assert 0.09 < middles.abs().max() < 0.11  # cubic weights bend a plane a little
    steps = torch.stack([image[0, 4, 5] - image[0, 4, 3] for image in moved]) / (planes[0, 4, 5] - planes[0, 4, 3])
    assert 0.95 * math.exp(-0.1) < steps.min() < 0.93
    assert 1.07 < steps.max() < 1.05 * math.exp(0.1)
    assert torch.allclose(RandomAffine(0.0, 1.0)(planes, generator), planes, atol=1e-6)


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: HorizontalFlip(probability="x"), "probability"),
        (lambda: HorizontalFlip(probability=float("nan")), "probability"),
        (lambda: RandomResizedCrop(area=[]), "area"),
        (lambda: RandomResizedCrop(aspect=(1, 2, 3)), "aspect"),
        (lambda: RandomResizedCrop(area=0.5), "area"),
        (lambda: Shift("2"), "pixels"),
        (lambda: Shift(1.5), "pixels"),
        (lambda: Shift(2, fill="white"), "fill"),
        (lambda: RandomCrop(None), "scale"),
        (lambda: RandomAffine(most=[0.1]), "most"),
        (lambda: RandomAffine(probability=True), "probability"),
    ],
)
def test_fields_of_another_type_are_refused_in_a_line(make, name):
    with pytest.raises(UserError, match=rf"\A{name} must be .*, got .*; correct it\Z"):
        make()


def test_fields_stay_as_they_were_written():
    """A cache of tokens knows an augmentation by how it is written."""
    assert repr(RandomCrop(2)) == "RandomCrop(scale=2)"
    assert repr(Shift(2, fill=0)) == "Shift(pixels=2, fill=0)"
    assert repr(RandomResizedCrop(area=(0.5, 1))).startswith("RandomResizedCrop(area=(0.5, 1), ")
