"""What images say of themselves: which class, words and seed each was drawn with, and how all of a set were drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.foreign.documents import parse_json, taken
from var.foreign.pictures import opened_picture
from var.names import shown
from var.sampling.record import KEY, NOT_COMPARED, OWN
from var.terms import UNKNOWN, Terms

_REMEDY = "draw it again, or remove its text chunk"


@dataclass(frozen=True, slots=True)
class Record:
    """The part of an image's record that is its own."""

    label: int | None  # None: drawn without a class
    name: str | None  # of the class
    seed: int | None
    prompt: str | None = None  # None: not drawn for words


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a set; None for an image without one."""

    each: tuple[Record | None, ...]
    settings: Mapping[str, Any] | None  # what they have in common; None if there is no record
    terms: Terms = UNKNOWN  # of what their model was trained on, as those of them know it that do
    grids: tuple[Path, ...] = ()  # files that show many images side by side, which `each` leaves out


def read_records(files: Sequence[Path]) -> Records:
    """The records of `files`, which must be of images that were drawn alike.

    Raises `UserError` for a file that is no picture, a record that is none, images of two models or settings, and an
    image that is there twice.
    """
    records: list[Record | None] = []
    grids: list[Path] = []
    settings, of, terms = None, Path(), UNKNOWN
    drawn: dict[tuple[int | str | None, ...], Path] = {}
    for path in files:
        found = _read(path)
        if found is not None and "images" in found:
            grids.append(path)
            continue
        if found is None:
            records.append(None)
            continue
        record = _own(found, path)
        if "terms" in found:
            source = f"the record in {shown(path)}"
            terms = Terms.read(taken(found, "terms", dict, source, remedy=_REMEDY), source, _REMEDY)
        records.append(record)
        shared = compared(found)
        if settings is None:
            settings, of = shared, path
        elif shared != settings:
            raise UserError(
                f"all images of a set must be drawn alike, got another {differing(settings, shared)} in {path} "
                f"than in {of}; separate them"
            )
        key = (record.label, record.prompt, record.seed)
        if record.seed is not None and (first := drawn.setdefault(key, path)) is not path:
            raise UserError(
                f"a set must hold each image once, got seed {record.seed} in {first} and in {path}; remove one of them"
            )
    return Records(tuple(records), settings, terms, tuple(grids))


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The entries in which all images of one model and setting agree, wherever they were drawn."""
    return {name: value for name, value in settings.items() if name not in (*OWN, *NOT_COMPARED)}


def differing(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> str:
    """The names of entries in which two settings differ."""
    a, b = a or {}, b or {}
    return ", ".join(repr(shown(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key))


def _read(path: Path) -> dict[str, Any] | None:
    with opened_picture(path) as image:
        text = image.info.get(KEY)
    return None if text is None else parse_json(str(text), f"the record in {shown(path)}", remedy=_REMEDY)


def _own(record: Mapping[str, Any], path: Path) -> Record:
    source = f"the record in {shown(path)}"
    full = {**dict.fromkeys(OWN), **record}
    label = taken(full, "class_label", int | None, source, remedy=_REMEDY)
    name = taken(full, "class_name", str | None, source, remedy=_REMEDY)
    seed = taken(full, "seed", int | None, source, remedy=_REMEDY)
    prompt = taken(full, "prompt", str | None, source, remedy=_REMEDY)
    for key, value in (("class_label", label), ("seed", seed)):
        if value is not None and not 0 <= value < 2**63:
            raise UserError(f"{source}: {key!r} must lie in [0, 2^63), got {value}; {_REMEDY}")
    return Record(label, name, seed, prompt)
