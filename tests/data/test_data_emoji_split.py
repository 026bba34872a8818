"""Emoji: nothing that is trained on has a twin that is judged. Twins are told here from names and code points alone."""

import re
from collections import defaultdict
from itertools import product

import pytest
import torch

from var.data import open_data
from var.data.base import conditions_at
from var.data.named.emoji import open_emoji, styles
from var.data.named.emoji.concepts import TWINS, WHOLE, concept_of
from var.data.named.emoji.listing import all_emoji
from var.data.named.emoji.splitting import PARTS, TRAINED, concept_part, part_of
from var.data.named.emoji.styles import STYLES, Style
from var.data.texts import with_texts
from var.errors import UserError
from var.text import open_encoder

SPLITS = ("train", "val", "test")

# Words that tell one version of a picture from another, in Unicode's names.
VERSIONS = {
    "tone": r"(medium-light|medium-dark|medium|light|dark) skin tone",
    "gender": r"\b(man|woman|men|women|person|people|boy|girl|male|female|mr|mrs|mx)\b\.?",
    "hair": r"\b(red|curly|white|blond) hair\b|\bbald\b|\bbeard\b",
    "direction": r"\b(up|down|left|right)(-(up|down|left|right))?(wards)?\b|\b(left|right)-facing\b|\bfacing right\b",
    "hour": r"\b\w+ o.clock\b|\b\w+-thirty\b",
    "key": r"(?<=keycap ).*",
}
WITH_THE_JACK = "GB AC AI AU BM CK DG FJ FK GS HM IO KY MS NU NZ PN SH TA TC TV VG"


def bare(name):
    """A name without the words of its version; numbers of pictures that share it are twins."""
    for pattern in VERSIONS.values():
        name = re.sub(pattern, "", name)
    return " ".join(name.split())


def flag(country):
    return "".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in country)


@pytest.fixture(scope="module")
def parts():
    """The emoji of each part, skin tones and all."""
    return {split: open_data("emoji", split=split, tones=True).emoji for split in SPLITS}


def test_the_parts_are_the_whole(parts):
    texts = [emoji.text for part in parts.values() for emoji in part]
    assert len(texts) == len(set(texts)) == 3944
    assert set(texts) == {emoji.text for emoji in open_data("emoji", split="all", tones=True).emoji}
    plain = {split: len(open_data("emoji", split=split)) for split in SPLITS}
    assert plain == {"train": 1602, "val": 131, "test": 181}
    concepts = {split: {emoji.concept for emoji in part} for split, part in parts.items()}
    assert {split: len(names) for split, names in concepts.items()} == {"train": 987, "val": 92, "test": 144}
    assert not concepts["train"] & concepts["val"] | concepts["train"] & concepts["test"]
    assert not concepts["val"] & concepts["test"]


def test_every_class_is_judged(parts):
    for split in SPLITS:
        assert len({emoji.category for emoji in parts[split]}) == 9


def test_no_twin_by_name_is_in_another_part(parts):
    found = defaultdict(set)
    for split, part in parts.items():
        for emoji in part:
            found[bare(emoji.name), emoji.category].add(split)
    crossing = {name for name, splits in found.items() if len(splits) > 1}
    assert crossing == set()
    assert len(found) < 1700, "names do share their words"


def test_no_twin_by_code_points_is_in_another_part(parts):
    """Without tones, signs of gender and of facing right, and with man and woman as person, no two parts meet."""
    found = defaultdict(set)
    for split, part in parts.items():
        for emoji in part:
            if emoji.category == "people":
                plain = re.sub("[\U0001f3fb-\U0001f3ff\ufe0f]|\u200d[\u2640\u2642\u27a1]", "", emoji.text)
                found[re.sub("[👨👩]", "🧑", plain)].add(split)
    assert [text for text, splits in found.items() if len(splits) > 1] == []


@pytest.mark.parametrize(
    ("concept", "texts"),
    [
        ("clock faces", [chr(code) for code in range(0x1F550, 0x1F568)]),
        ("keycaps", [f"{key}\ufe0f\u20e3" for key in "0123456789#*"] + ["🔟"]),
        ("Union Jack flags", [flag(country) for country in WITH_THE_JACK.split()]),
    ],
)
def test_what_differs_in_a_detail_is_one_concept(concept, texts):
    found = {emoji.text: emoji for emoji in all_emoji()}
    assert {found[text].concept for text in texts} == {concept}
    assert sum(emoji.concept == concept for emoji in found.values()) == len(texts)
    assert concept_part(concept) == "train"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("👍", "👍🏿"), ("👍", "👎🏻"), ("🧑‍🚒", "👩🏽‍🚒"), ("🏃", "🏃🏿‍♀️‍➡️"), ("🧑‍🦽", "👨🏻‍🦽‍➡️"), ("👨‍🦰", "👵🏾")],
        *[
            ("🤝", "🫱🏻‍🫲🏿"),
            ("👫", "👩🏽‍❤️‍👨🏿"),
            ("👯", "👯‍♂️"),
            ("🤴", "👸🏻"),
            ("👈", "☝🏼"),
            ("🕺", "💃"),
            ("🎅", "🧑🏽‍🎄"),
        ],
        *[
            ("⬆️", "↩️"),
            ("🔍", "🔎"),
            ("❤️", "💛"),
            ("🔴", "🌕"),
            ("🇳🇴", "🇧🇻"),
            ("🇺🇸", "🇺🇲"),
            ("🐈", "🐈‍⬛"),
            ("♌", "♓"),
        ],
        *[("🙂", "🙃"), ("🧜‍♀️", "🧜🏿‍♂️"), ("👪", "👨‍👩‍👧‍👦"), ("🤰", "🫃🏽"), ("🧔", "🧔🏻‍♀️"), ("🤼", "🤼‍♂️")],
    ],
)
def test_twins_are_one_concept(one, other):
    found = {emoji.text.replace("\ufe0f", ""): emoji.concept for emoji in all_emoji()}
    assert found[one.replace("\ufe0f", "")] == found[other.replace("\ufe0f", "")]


def test_what_differs_is_not_one_concept():
    found = {emoji.text: emoji.concept for emoji in all_emoji()}
    for one, other in [
        ("🍎", "🍐"),
        ("🧑‍🚒", "🧑‍🍳"),
        ("🐶", "🐕"),
        ("😀", "😭"),
        ("🇯🇵", "🇧🇷"),
        ("👍", "👌"),
        ("🚗", "🚲"),
    ]:
        assert found[one] != found[other]


def test_the_tables_name_emoji_that_there_are():
    found = {emoji.text.replace("\ufe0f", "") for emoji in all_emoji()}
    twins = [twin.replace("\ufe0f", "") for members in TWINS.values() for twin in members.split()]
    later = {"\U0001faf9", "\U0001fafa"}  # thumbs to the left and right, of version 18
    assert len(twins) == len(set(twins))
    assert set(twins) - later <= found
    assert {emoji.concept for emoji in all_emoji()} >= set(TWINS) | set(WHOLE.values()) >= TRAINED
    assert set(WHOLE) <= {emoji.subcategory for emoji in all_emoji()}


def test_a_concept_has_its_part_whatever_else_there_is():
    """Golden: nothing may move an emoji that someone trained on into what is judged."""
    texts = {"🦊": "test", "🍌": "test", "🚒": "test", "🐙": "train", "🍕": "train", "🇯🇵": "train"}
    found = {emoji.text: emoji for emoji in all_emoji()}
    assert {text: concept_part(found[text].concept) for text in texts} == texts
    assert concept_of("🦊", "anything") == "1F98A"


@pytest.fixture
def two_styles(monkeypatch):
    """OpenMoji under the name of a second style."""
    second = Style(styles.openmoji_font, None, licence="OFL 1.1", attribution="By others.")
    monkeypatch.setitem(STYLES, "noto", second)
    return ("openmoji", "noto")


def test_whole_pairs_of_concept_and_style_are_held_out(two_styles):
    data = {split: open_emoji(split, None, None, styles=two_styles) for split in (*SPLITS, "all")}
    assert sum(len(data[split]) for split in SPLITS) == len(data["all"]) == 2 * 1914
    pairs = {split: set(zip(data[split].concepts, data[split].style_labels.tolist(), strict=True)) for split in SPLITS}
    for one, other in [("train", "val"), ("train", "test"), ("val", "test")]:
        assert not pairs[one] & pairs[other]
    trained = set(data["train"].concepts)
    assert not data["train"].new_concepts.any()
    for split in ("val", "test"):
        judged = data[split]
        assert judged.styles == two_styles
        assert 0.1 < 1 - judged.new_concepts.double().mean() < 0.5
        for concept, new in zip(judged.concepts, judged.new_concepts.tolist(), strict=True):
            assert (concept in trained) != new
        assert judged.style_labels.bincount().min() > 0.4 * len(judged)
    alone = open_emoji("test", None, None)
    new = {e.text for e, is_new in zip(data["test"].emoji, data["test"].new_concepts, strict=True) if is_new}
    assert {emoji.text for emoji in alone.emoji} == new, "what is held out in one style is held out in all"


def test_both_styles_are_drawn_and_named(two_styles):
    data = open_data("emoji?styles=openmoji,noto", split="test")
    assert data.licence == "CC BY-SA 4.0, OFL 1.1"
    assert data.attribution.endswith("By others.")
    last = len(data) - 1
    assert data.describe(last).endswith(", noto)")
    assert data.load_many(torch.tensor([0, last])).shape == (2, 3, 32, 32)
    swapped = open_data("emoji?styles=noto,openmoji", split="test")
    assert {(e.text, swapped.styles[s]) for e, s in zip(swapped.emoji, swapped.style_labels, strict=True)} == {
        (e.text, data.styles[s]) for e, s in zip(data.emoji, data.style_labels, strict=True)
    }, "the order of the styles changes nothing but the order"


def test_the_style_is_a_second_label(two_styles):
    """By choice it is the caption, whose vector the condition has beside the class."""
    data = open_data("emoji?styles=openmoji,noto&words=style", split="val")
    shown = conditions_at(
        with_texts(data, open_encoder("words:openmoji,noto"), progress=False), torch.arange(len(data))
    )
    assert torch.equal(shown.vectors.argmax(1), data.style_labels)
    assert torch.equal(shown.labels, data.labels)
    assert tuple(data.captions) == tuple(two_styles[place] for place in data.style_labels)
    with pytest.raises(UserError, match="unknown words 'stile' of the emoji; did you mean 'style'"):
        open_data("emoji?words=stile")


def test_shares_are_as_said():
    names = [f"concept {number}" for number in range(4000)]
    drawn = [concept_part(name) for name in names]
    assert [drawn.count(part) / len(drawn) for part in PARTS] == pytest.approx([0.80, 0.08, 0.12], abs=0.02)
    known = [name for name, part in zip(names, drawn, strict=True) if part == "train"]
    withheld = [part_of(name, style, ("a", "b")) for name, style in product(known, "ab")]
    assert withheld.count("val") / len(known) == pytest.approx(0.04, abs=0.01)
    assert withheld.count("test") / len(known) == pytest.approx(0.06, abs=0.01)
