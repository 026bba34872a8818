"""The terms on which images may be passed on: data say them, and what is made of data keeps them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from var.foreign.documents import read_json, taken


class Terms(NamedTuple):
    """What whoever passes on images, or what is made of them, must say; None is what is not known."""

    licence: str | None = None  # such as "CC BY-SA 4.0"
    attribution: str | None = None  # what their makers ask to be said

    @classmethod
    def of(cls, data: Any) -> Self:
        """The terms of data, which may say none."""
        return cls(*(getattr(data, name, None) for name in cls._fields))

    @classmethod
    def read(cls, known: dict[str, Any], source: object, remedy: str) -> Self:
        """Those in a document; raises `UserError`, which names its `source`, for what is no text."""
        known = {**cls()._asdict(), **known}
        return cls(*(taken(known, name, str | None, source, remedy=remedy) for name in cls._fields))

    @classmethod
    def joined(cls, several: Iterable["Terms"]) -> Self:
        """What is made of all of these keeps all that they say."""
        return cls(*("; ".join(dict.fromkeys(filter(None, each))) or None for each in zip(*several, strict=True)))

    @classmethod
    def of_file(cls, record: Path) -> Self:
        """What `write_folder` has noted of the images that it has written, if it was it."""
        return cls.read(read_json(record, most=2**20) if record.exists() else {}, record, "write the data anew")

    def said(self) -> dict[str, str]:
        """Those that are known, by name."""
        return {name: value for name, value in self._asdict().items() if value}

    def entry(self) -> dict[str, dict[str, str]]:
        """They as an entry of a document, which has none where nothing is known."""
        return {"terms": said} if (said := self.said()) else {}

    def __str__(self) -> str:
        """The licence and the attribution, as far as they are known."""
        return ". ".join(self.said().values())


UNKNOWN = Terms()
