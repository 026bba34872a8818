"""Captions as vectors: each text encoded once, kept, resumed, and read back only if it is what was written."""

import logging
from dataclasses import replace

import pytest
import torch
from tiny_models import one_line
from tiny_text import LetterEncoder

from var.data import ArrayData, SkipBadImages, without_images
from var.data.base import Captions
from var.data.texts import PART, encoded, with_texts
from var.foreign.pictures import BadImageError

COLOURS = ("a red face", "a beige cab", "jade")


class Captioned(ArrayData):
    """Images with captions; that of the third one is bad if asked for."""

    def __init__(self, count=9, bad=False):
        super().__init__(torch.rand(count, 1, 4, 4), torch.arange(count) % 2)
        self.bad = bad
        self.captions = Captions(count, self._caption)

    def _caption(self, index):
        if self.bad and index == 2:
            raise BadImageError("image 2 must have a caption")
        return COLOURS[index % 3]


class KilledError(Exception):
    pass


def vectors_of(data):
    return data.condition(torch.arange(len(data))).vectors


def test_images_show_the_vector_of_their_caption(tmp_path):
    encoder, data = LetterEncoder(), Captioned()
    shown = with_texts(data, encoder, folder=tmp_path, progress=False)
    assert torch.equal(vectors_of(shown), LetterEncoder()([COLOURS[index % 3] for index in range(9)]).vectors)
    assert shown.condition(torch.tensor([0, 1])).labels.tolist() == [0, 1]
    assert encoder.asked == list(COLOURS)
    again = with_texts(data, encoder, labels=False, folder=tmp_path, progress=False)
    assert torch.equal(vectors_of(again), vectors_of(shown))
    assert again.condition(torch.tensor([0])).labels is None
    assert len(encoder.asked) == 3
    assert torch.equal(vectors_of(with_texts(data, encoder, progress=False)), vectors_of(shown))


def test_texts_of_another_encoder_are_not_read(tmp_path):
    first, other = LetterEncoder(), LetterEncoder(name="other")
    for encoder in (first, other, other):
        encoded(COLOURS, encoder, tmp_path, progress=False)
    assert (first.asked, other.asked) == ([*COLOURS], [*COLOURS])
    encoded(COLOURS[:2], other, tmp_path, progress=False)
    assert len(other.asked) == 5


def test_what_is_killed_goes_on_where_it_was(tmp_path):
    texts = [f"a {number}" for number in range(2 * PART + 5)]

    class Dying(LetterEncoder):
        def __call__(self, lines, **options):
            if len(self.asked) >= PART:
                raise KilledError
            return super().__call__(lines, **options)

    with pytest.raises(KilledError):
        encoded(texts, Dying(), tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 1
    encoder = LetterEncoder()
    found = encoded(texts, encoder, tmp_path, progress=False)
    assert encoder.asked == texts[PART:]
    assert torch.equal(found.vectors, LetterEncoder()(texts).vectors)
    shares = [LetterEncoder(), LetterEncoder()]
    for rank in (1, 0):  # the first waits for the other's share, which is there by then
        if rank == 1:
            with one_line(".*there is no|.*must exist"):
                encoded(texts, shares[1], tmp_path / "two", progress=False, rank=1, world_size=2)
        else:
            both = encoded(texts, shares[0], tmp_path / "two", progress=False, rank=0, world_size=2)
    assert torch.equal(both.vectors, found.vectors)
    assert (len(shares[0].asked), len(shares[1].asked)) == (PART + 5, PART)


@pytest.mark.parametrize("harm", ["cut", "other", "bit"])
def test_a_damaged_file_is_set_aside(tmp_path, caplog, harm):
    encoder = LetterEncoder()
    found = encoded(COLOURS, encoder, tmp_path, progress=False)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if harm == "other":
        encoded(COLOURS[:2], encoder, tmp_path / "other", progress=False)
        content = next((tmp_path / "other").iterdir()).read_bytes()
    elif harm == "bit":
        content[-1] ^= 1
    path.write_bytes(content[: len(content) // 2] if harm == "cut" else content)
    with caplog.at_level(logging.WARNING):
        again = encoded(COLOURS, encoder, tmp_path, progress=False)
    assert torch.equal(again.vectors, found.vectors)
    assert "is kept as" in caplog.text
    assert path.with_name(f"{path.name}.damaged").exists()


def test_sequences_are_kept_too(tmp_path):
    encoder = LetterEncoder()
    found = encoded(COLOURS, encoder, tmp_path, sequences=True, progress=False)
    again = encoded(COLOURS, encoder, tmp_path, sequences=True, progress=False)
    assert len(encoder.asked) == 3
    assert torch.equal(again.sequence, found.sequence)
    assert torch.equal(again.mask, found.mask)
    assert encoded(COLOURS, encoder, tmp_path, progress=False).sequence is None


@pytest.mark.parametrize("given", ["nothing", "no mask"])
def test_sequences_that_an_encoder_does_not_give(tmp_path, given):
    class Short(LetterEncoder):
        def __call__(self, texts, *, sequences=False):
            found = super().__call__(texts, sequences=sequences)
            return replace(found, mask=None, sequence=found.sequence if given == "no mask" else None)

    for folder in (None, tmp_path):
        with one_line("a text encoder must give a sequence and its mask if asked, got none of 'letters'; use another"):
            encoded(COLOURS, Short(), folder, sequences=True, progress=False)


def test_bad_captions_are_skipped_with_their_images(tmp_path):
    with one_line("image 2 must have a caption"):
        with_texts(Captioned(bad=True), LetterEncoder(), progress=False)
    data = SkipBadImages(Captioned(bad=True))
    shown = with_texts(data, LetterEncoder(), progress=False)
    assert isinstance(shown, SkipBadImages)
    indices = torch.arange(9)
    for index in indices.tolist():
        shown.load(index)
    captions = [shown.captions[index] for index in range(9)]
    assert torch.equal(shown.condition(indices).vectors, LetterEncoder()(captions).vectors)


def test_what_stands_for_an_image_is_known_where_none_is_loaded():
    """As in training on a cache of tokens, which are those of the image that stands for a bad one."""
    data = SkipBadImages(Captioned(bad=True))
    shown = without_images(with_texts(data, LetterEncoder(), progress=False))
    wanted = LetterEncoder()([data.captions[2]]).vectors
    assert torch.equal(shown.condition(torch.tensor([2])).vectors, wanted)


def test_captions_that_are_all_bad():
    class Bad(Captioned):
        def _caption(self, index):
            raise BadImageError(f"image {index} must have a caption")

    with one_line("images must have good captions, got none: image 8 must have a caption; repair the data"):
        with_texts(SkipBadImages(Bad()), LetterEncoder(), progress=False)


def test_data_without_captions():
    with one_line("images that show a text must have captions, got none in ArrayData; write NAME.txt beside"):
        with_texts(ArrayData(torch.zeros(2, 1, 4, 4), [0, 1]), LetterEncoder())
