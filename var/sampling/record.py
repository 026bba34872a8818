"""What an image file says of its making: enough to make it again, and to know whether it is the one wanted."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import nn

from var.configs import config_to_text
from var.errors import UserError
from var.foreign.documents import parse_json
from var.foreign.pictures import BadImageError, opened_picture
from var.sampling.work import Item
from var.version import __version__
from var.weights import add_to_digest

KEY = "next-scale"
"""The text chunk of the PNG that holds the record, as JSON."""

NOT_COMPARED = ("versions", "model", "variant", "revision", "terms")
"""Of a model, its fingerprint is compared."""

OWN = ("class_label", "class_name", "seed", "prompt")
"""What a record says of one image alone; the prompt where there is one."""

UNSAID = {"spacing": "leading"}
"""What a record means that does not tell such a setting: those of before it was one do not, nor do those like them."""

SAMPLED = 4096
"""Elements of each tensor that the fingerprint of a model looks at."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the images of a set are made."""

    settings: Mapping[str, Any]  # what all images share, fit for JSON
    class_names: Sequence[str]
    versions: Mapping[str, str] = field(default_factory=lambda: versions())

    def __post_init__(self) -> None:
        told = {name: value for name, value in self.settings.items() if (name, value) not in UNSAID.items()}
        told = {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}  # as JSON
        object.__setattr__(self, "settings", told)

    def record(self, item: Item) -> dict[str, Any]:
        """All that is needed to make an image again."""
        name = None if item.label is None else self.class_names[item.label]
        own = {"class_label": item.label, "class_name": name, "seed": item.seed}
        own |= {} if item.prompt is None else {"prompt": item.prompt}
        return {**self.settings, **own, "versions": dict(self.versions)}

    def text(self, item: Item) -> dict[str, str]:
        """The record as text chunks of a PNG."""
        return {KEY: record_text(self.record(item))}

    def is_finished(self, item: Item, root: Path) -> bool:
        """Whether the file of `item` is there and whole; raises `UserError` if it was made in another way.

        Other versions of the software are no other way, nor is another place of the same model.
        """
        path = root / item.file
        found = read_record(path)
        if found is None:
            return False
        remedy = "choose another --output, or pass --overwrite to draw such images again"
        _compare(path, found, self.record(item), remedy)
        return True

    def check_settings(self, found: Mapping[str, Any], path: Path) -> None:
        """Raise `UserError` if the record of the image in `path`, of any class and seed, is not of this recipe."""
        remedy = "choose another --output: images that were made in different ways are no set"
        _compare(path, {name: value for name, value in found.items() if name not in OWN}, self.settings, remedy)


def _compare(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], remedy: str) -> None:
    for name in dict.fromkeys((*wanted, *found)):
        then, now = (record.get(name, UNSAID.get(name)) for record in (found, wanted))
        if name not in NOT_COMPARED and then != now:
            raise UserError(f"{path} was drawn with {name} = {then!r}, and now {now!r} is asked for; {remedy}")


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in an image file; None if the file is missing, cut off or damaged.

    Raises `UserError` for a picture without a record, which somebody else made.
    """
    try:
        with opened_picture(path, formats=("PNG",)) as image:
            text = image.info.get(KEY)
            image.verify()  # the checksums of all chunks, without decoding the picture
    except BadImageError:
        return None
    try:
        record = {} if text is None else parse_json(str(text), path)
    except UserError:
        record = {}
    if not record:
        raise UserError(
            f"{path} does not say how it was drawn; choose another --output, or pass --overwrite to replace it"
        )
    return record


def record_text(record: Mapping[str, Any]) -> str:
    """A record as JSON; half a pair in a name of others is written by its code, which UTF-8 cannot say."""
    text = json.dumps(record, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def versions() -> dict[str, str]:
    """Versions of the software that has a say in the pixels of an image."""
    return {
        "next-scale": __version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
    }


def fingerprint(*models: nn.Module, settings: object = None) -> str:
    """16 hexadecimal digits that tell models apart, by configs, `settings` and at most 4096 elements of every tensor.

    A new training changes all tensors, so looking at a part of each finds it, at no cost that would be felt.
    """
    digest = hashlib.blake2b(repr(settings).encode(), digest_size=8)
    for model in models:
        digest.update(config_to_text(getattr(model, "config", None)).encode())
        add_to_digest(digest.update, model.state_dict().items(), sampled=SAMPLED)
    return digest.hexdigest()
