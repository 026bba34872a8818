"""Captions: one text for each image, through every wrapper, and of the image that is really given."""

import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image

from var.conditions import Condition
from var.data import ArrayData, BadImageError, FolderData, SkipBadImages, shapes, without_images
from var.data.base import Captions
from var.data.named.shapes import COLOURS, SHAPES
from var.data.shape_words import PHRASES, SIZES, ground_word, place_words


class Words(ArrayData):
    """Images of two classes, of which some are broken, with captions and conditions that tell them apart."""

    def __init__(self, bad=()):
        super().__init__(torch.zeros(12, 1, 4, 4), [0, 1] * 6)
        self.captions = [f"number {number}" for number in range(12)]
        self.bad, self.loads = set(bad), []
        self.licence, self.attribution = "MIT", "Drawn by us."

    def load(self, index):
        self.loads.append(index)
        if index in self.bad:
            raise BadImageError(f"image {index} is bad")
        return self.images[index] + index / 100

    def condition(self, indices):
        return Condition(self.labels[indices] + 10 * indices, torch.ones_like(indices, dtype=torch.bool))


def test_a_sequence_that_is_made_when_asked_for():
    captions = Captions(5, lambda index: f"<{index}>")
    assert len(captions) == 5
    assert (captions[0], captions[-1], captions[1:3]) == ("<0>", "<4>", ["<1>", "<2>"])
    assert list(captions) == ["<0>", "<1>", "<2>", "<3>", "<4>"]
    with pytest.raises(IndexError):
        captions[5]


def test_wrappers_pass_captions_and_terms_on():
    data = Words()
    wrapped = without_images(data)
    assert wrapped.captions == data.captions
    assert (wrapped.licence, wrapped.attribution) == ("MIT", "Drawn by us.")
    plain = SkipBadImages(ArrayData(torch.zeros(2, 1, 4, 4), [0, 1]))
    assert (plain.captions, plain.licence, plain.attribution) == (None, None, None)


@pytest.mark.parametrize("loaded_before", [True, False])
def test_a_stand_in_brings_its_caption(loaded_before):
    data = SkipBadImages(Words(bad=(2, 5)))
    images = {index: data.load(index) for index in range(12)} if loaded_before else {}
    captions = list(data.captions)
    for index in range(12):
        image = images.get(index, data.load(index))
        assert captions[index] == f"number {round(float(image[0, 0, 0]) * 100)}"
        assert (captions[index] == f"number {index}") == (index not in (2, 5))
    assert set(data.skipped) >= {2, 5}


def test_a_known_stand_in_is_not_loaded_for_its_caption():
    data = SkipBadImages(Words(bad=(2,)))
    data.load(2)
    captions = data.captions  # the check of types looks at one of them, whichever
    before = len(data.data.loads)
    assert captions[2] != "number 2"
    assert len(data.data.loads) == before


def test_a_stand_in_brings_its_condition():
    data = SkipBadImages(Words(bad=(2, 5)))
    indices = torch.arange(12)
    shown = [round(float(data.load(int(index))[0, 0, 0]) * 100) for index in indices]
    assert torch.equal(data.condition(indices).labels, data.data.condition(torch.tensor(shown)).labels)


def test_data_without_captions_have_none(tmp_path):
    path = tmp_path / "a" / "1.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(path)
    assert SkipBadImages(FolderData(tmp_path, size=4)).captions is None


def test_captions_of_shapes_say_the_class_and_what_else_is_seen():
    data = shapes(length=240)
    assert len(data.captions) == 240
    for index, caption in enumerate(data.captions):
        colour, shape = data.classes[data.labels[index]].split()
        shown = data.shows(index)
        assert (shown.colour, shown.shape) == (colour, shape)
        assert all(word in caption for word in (colour, shape, shown.size, shown.ground))
    assert list(pickle.loads(pickle.dumps(data)).captions) == list(data.captions)
    assert list(shapes(length=240, size=64).captions) == list(data.captions), "the same picture has the same words"
    assert data.captions[0] == "a large red circle on a yellow ground"


def test_every_class_has_every_phrase_equally_often():
    data = shapes(length=12 * 4 * 5)
    patterns = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(phrase)) for phrase in PHRASES]
    counts = np.zeros((12, len(PHRASES)), dtype=int)
    for label, caption in zip(data.labels.tolist(), data.captions, strict=True):
        counts[label, [re.fullmatch(pattern, caption) is not None for pattern in patterns].index(True)] += 1
    assert (counts == 5).all()


def test_the_words_are_what_is_measured_in_the_picture():
    """Size, place and ground from the pixels alone, against the words; doubtful ones near a border are left out."""
    data = shapes(length=360, size=64)
    areas = {name: [] for name in SIZES}
    for index in range(len(data)):
        shown, image = data.shows(index), data.load(index)
        corners = image[:, [0, 0, -1, -1], [0, -1, 0, -1]].median(1).values
        marked = ((image - corners[:, None, None]).abs().amax(0) > 0.2).float()
        if shown.shape == "circle":
            areas[shown.size].append(marked.mean().item())
        assert shown.ground == ground_word(*((corners + 1) / 2).tolist()) or near_a_border(corners)
        y, x = (marked.nonzero().double().mean(0) + 0.5) / 64
        assert (
            shown.place == place_words(float(x), float(y))
            or min(abs(v - w) for v in (x, y) for w in (0.42, 0.58)) < 0.02
        )
        ink = image[:, round(float(y) * 64 - 0.5), round(float(x) * 64 - 0.5)]
        assert ink.argmax() == COLOURS.index(shown.colour)
    assert max(areas["small"]) < min(areas["medium-sized"]) + 0.01
    assert max(areas["medium-sized"]) < min(areas["large"]) + 0.01
    assert min(map(len, areas.values())) > 10


def near_a_border(colour):
    """Whether a step of one level of a channel would change the word for a ground."""
    levels = (colour + 1) / 2
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0]) / 255] * 3)
    return len({ground_word(*(levels + step).clamp(0, 1).tolist()) for step in steps}) > 1


@pytest.mark.parametrize(
    ("colour", "word"),
    [
        ((0.5, 0.5, 0.5), "grey"),
        ((0.9, 0.9, 0.9), "light grey"),
        ((0.2, 0.2, 0.2), "dark grey"),
        ((0.6, 0.45, 0.45), "red"),
        ((0.6, 0.45, 0.47), "red"),
        ((0.6, 0.45, 0.43), "red"),
        ((0.3, 0.3, 0.2), "dark yellow"),
        ((0.7, 0.9, 0.7), "light green"),
        ((0.45, 0.6, 0.6), "turquoise"),
        ((0.45, 0.45, 0.6), "blue"),
        ((0.6, 0.45, 0.6), "purple"),
    ],
)
def test_words_of_grounds(colour, word):
    assert ground_word(*colour) == word


def test_every_part_of_a_phrase_is_one_of_its_words():
    assert {re.sub(r"[{}]", "", part) for phrase in PHRASES for part in re.findall(r"{\w+}", phrase)} == {
        *("size", "colour", "shape", "ground", "place")
    }
    assert place_words(0.5, 0.5) == "at the centre"
    assert place_words(0.2, 0.9) == "at the bottom left"
    assert len(SHAPES) * len(COLOURS) == 12
