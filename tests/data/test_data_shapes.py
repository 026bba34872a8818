"""The shapes: what is drawn is what the name says, always the same, at every resolution."""

import math
import pickle

import numpy as np
import pytest
import torch
from annotations import unchecked
from torch.nn import functional as F

from var.data import FolderData, ImageData, open_data, shapes, write_folder
from var.data.base import fingerprint
from var.data.named.shapes import CLASSES, HELD_OUT, SHAPES
from var.data.shape_words import GROUNDS, words_in
from var.errors import UserError
from var.images import to_uint8

AREAS = {
    "circle": math.pi * 0.64,
    "square": 2.0,
    "triangle": 3 * math.sqrt(3) / 4,
    "cross": 4 * (2 * 0.94 * math.sqrt(1 - 0.94**2) - (1 - 0.94**2)),
}
"""Of the shapes in the unit circle."""


def test_names_lengths_and_labels():
    data = shapes()
    assert isinstance(data, ImageData)
    assert data.classes == tuple(f"{c} {s}" for c in ("red", "green", "blue") for s in AREAS)
    assert (len(data), len(shapes("test")), len(shapes("all"))) == (50_000, 5_000, 55_000)
    assert data.shape == data.load(0).shape == (3, 32, 32)
    assert torch.equal(data.labels[:30], torch.arange(30) % 12)
    assert data.describe(12) == "shapes[12]"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_its_area(shape):
    data = shapes(size=128, length=120)
    for index in [i for i in range(120) if data.classes[data.labels[i]].endswith(shape)]:
        x, y, radius, *_ = data._plan(index)
        image = data.load(index)
        ground, ink = image[:, 0, 0], image[:, int(y * 128), int(x * 128)]
        channel = int((ink - ground).abs().argmax())
        coverage = (image[channel] - ground[channel]) / (ink - ground)[channel]
        assert float(coverage.mean()) == pytest.approx(AREAS[shape] * radius**2, rel=0.01)


def test_every_colour_is_what_it_is_called_and_stands_out():
    data = shapes(length=96)
    for index in range(96):
        x, y, *_ = data._plan(index)
        image = data.load(index)
        ink, ground = image[:, int(y * 32), int(x * 32)], image[:, 0, 0]
        assert data.classes[data.labels[index]].split()[0] == ("red", "green", "blue")[int(ink.argmax())]
        assert float((ink - ground).abs().max()) > 0.2


def test_place_size_turn_and_ground_vary():
    plans = np.array([shapes()._plan(index) for index in range(0, 720, 12)])
    random, ink = np.delete(plans, [5, 6, 7], axis=1), plans[:, 5:8]
    assert (random.std(axis=0) > 0.05).all()
    assert (ink == ink[0]).all()  # every twelfth image is of the same class: 3 colours, not 3 ranges of them
    assert abs(plans[:, 3:5].mean()) < 0.15  # turns go all the way round
    place, radius = plans[:, :2], plans[:, 2:3]
    assert ((place >= radius) & (place <= 1 - radius)).all()


def test_an_image_depends_on_split_and_index_only():
    data = shapes()
    many = data.load_many(torch.tensor([7, 49_999, 7, 300]))
    alone = [data.load(index) for index in (7, 49_999, 7, 300)]
    assert all(torch.equal(one, other) for one, other in zip(many, alone, strict=True))
    other = pickle.loads(pickle.dumps(shapes(length=301)))
    assert torch.equal(other.load(300), alone[3])
    assert torch.equal(shapes("all").load(50_003), shapes("test").load(3))
    assert torch.equal(shapes("all").load(49_999), alone[1])


def test_splits_do_not_overlap():
    train, test = (shapes(split, size=8).load_many(torch.arange(200)) for split in ("train", "test"))
    assert len(torch.cat([train, test]).flatten(1).unique(dim=0)) == 400


@pytest.mark.parametrize("size", [64, 96])
def test_another_size_is_the_same_picture(size):
    indices = torch.arange(48)
    small, large = shapes(size=32).load_many(indices), shapes(size=size).load_many(indices)
    error = (F.avg_pool2d(large, size // 32) - small).square().mean()
    assert error < 1e-4  # over 46 dB; a shape beside its place gives 20 dB


def test_images_have_the_256_levels():
    image = shapes().load(5)
    assert torch.equal(to_uint8(image).float() / 127.5 - 1, image)


def test_the_images_never_change():
    # Golden: what was trained on the shapes stays comparable. A little room for another library of sines.
    sums = to_uint8(shapes().load_many(torch.arange(6))).long().sum(dim=(1, 2, 3))
    assert (sums - torch.tensor([405672, 579544, 229202, 142775, 417028, 137800])).abs().max() <= 6
    assert to_uint8(shapes("test").load(0))[:, 0, 0].tolist() == [85, 90, 85]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "unknown split 'tset' of the shapes; did you mean 'test'"),
        ({"size": 4}, "a size of 8 pixels or more, got 4"),
        ({"length": 0}, "a length must be 1 or more, got 0"),
        ({"length": 10**12}, "got 1000000000000, and at most 10000000"),
        ({"length": 1.5}, "a length must be 1 or more, got 1.5"),
        ({"size": "32"}, "the size of images must be a whole number of pixels"),
        ({"size": (16, 8)}, r"the shapes need a size of 8 pixels or more, got \(16, 8\)"),
        ({"split": "all", "length": 5}, "no length of its own, got 5"),
    ],
)
def test_impossible_shapes(options, message):
    with unchecked(), pytest.raises(UserError, match=message):
        shapes(**options)


def test_an_index_beyond_the_end():
    with pytest.raises(IndexError):
        shapes(length=3).load(3)


# As a folder


def test_a_written_folder_reads_back_bit_for_bit(tmp_path):
    data = shapes(size=16, length=40)
    assert write_folder(data, tmp_path / "out", count=30, progress=False) == tmp_path / "out"
    read = FolderData(tmp_path / "out", size=16)
    assert read.classes == tuple(sorted(data.classes))
    assert len(read) == 30
    for index, path in enumerate(read.paths):
        original = int(path.stem)
        assert read.classes[read.labels[index]] == data.classes[data.labels[original]] == path.parent.name
        assert torch.equal(read.load(index), data.load(original))
    write_folder(data, tmp_path / "out", count=30, progress=False)  # again, as after an interruption
    assert len(FolderData(tmp_path / "out", size=16)) == 30


def test_a_folder_is_written_only_where_nothing_else_is(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"must be empty or absent, got 'notes.txt'"):
        write_folder(shapes(length=12), tmp_path, progress=False)
    with pytest.raises(UserError, match=r"the count must lie in \[1, 12\], the number of images, got 13"):
        write_folder(shapes(length=12), tmp_path, count=13, progress=False)


def test_a_class_that_cannot_be_a_folder(tmp_path):
    data = shapes(length=12)
    data.classes = ("../up", *data.classes[1:])
    with pytest.raises(UserError, match=r"needs a plain name, got '../up'"):
        write_folder(data, tmp_path, progress=False)


def combinations_of(data):
    return {(each.colour, each.shape, each.ground) for each in map(data.shows, range(len(data)))}


def test_a_tenth_of_the_combinations_can_be_held_out():
    seen, held_out = (shapes(length=600, combinations=name) for name in ("seen", "held-out"))
    wanted = {(*name.split(), ground) for name, grounds in zip(CLASSES, HELD_OUT, strict=True) for ground in grounds}
    assert len(wanted) == 2 * 12  # of 12 * 21
    assert combinations_of(held_out) == wanted
    assert not combinations_of(seen) & wanted
    assert {ground for _, _, ground in combinations_of(seen)} == set(GROUNDS)
    assert torch.equal(seen.labels, held_out.labels)
    assert len({fingerprint(data) for data in (seen, held_out, shapes(length=600))}) == 3


def test_pictures_of_wanted_combinations_stay_where_they_are():
    everything, seen = shapes(length=120), shapes(length=120, combinations="seen")
    pairs = [(everything._plan(index), seen._plan(index)) for index in range(120)]
    unwanted = [everything.shows(index).ground in HELD_OUT[index % 12] for index in range(120)]
    assert [one != other for one, other in pairs] == unwanted
    assert 3 < sum(unwanted) < 20
    assert shapes(combinations="seen").load(7).equal(seen.load(7))


def test_without_a_choice_nothing_has_changed():
    assert (
        fingerprint(shapes()) == fingerprint(open_data("shapes?combinations=all")) == "730ea4d3f9708958feece394d46929d9"
    )


def test_unknown_combinations_are_refused():
    with pytest.raises(UserError, match="unknown combinations 'sean' of the shapes; did you mean 'seen'"):
        open_data("shapes?combinations=sean")


def test_captions_and_attributes_are_what_is_drawn():
    data = shapes(length=48, combinations="held-out")
    attributes = data.attributes()
    for index, caption in enumerate(data.captions):
        found = words_in(caption)
        assert found
        assert found.items() <= {name: words[index] for name, words in attributes.items()}.items()
    assert {"place", "ground"} <= set(words_in("large red cross,  at the top left of a dark blue picture") or ())
    assert words_in("a picture of a cat") is None
