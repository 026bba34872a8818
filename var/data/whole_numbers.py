"""Whole numbers as others write them, labels above all, and nothing that would have to be made one."""

import operator
import re
from typing import Any

from var.errors import UserError
from var.foreign.documents import EncodingError, parse_json

_WHOLE = re.compile(rb"\s*(-?[0-9]{1,18})\s*")


class UnreadableError(UserError):
    """The JSON of a sample, which may be meant for its label or its caption, cannot be read."""


def label_in_text(content: bytes, name: str) -> int:
    """The label that is all of a text; raises `UserError`, with the `name` of the file, for anything but digits."""
    found = _WHOLE.fullmatch(content)
    if found is None:
        raise UserError(f"{name} must hold a label, a whole number, got {content[:40]!r}; correct it")
    return int(found[1])


def json_of_sample(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object that may hold a "label"; raises `UserError`, with the `name` of the file, for anything else.

    That is an `UnreadableError` where nothing tells that a label was meant: nothing is there, or it is no UTF-8.
    """
    try:
        return parse_json(content, name, remedy="correct it")
    except EncodingError as error:
        raise UnreadableError(str(error)) from error
    except UserError as error:
        kind = UserError if content.strip() else UnreadableError
        raise kind(f'{name} must hold a label, as "label" of an object, but: {error}') from error


def label_in_json(values: dict[str, Any], name: str) -> int | None:
    """The "label" of an object, None if it has none; raises `UserError` for one that is no whole number."""
    label = values.get("label")
    if label is not None and not is_whole(label):
        raise UserError(f"{name} must hold a label, a whole number, got {str(label)[:40]!r}; correct it")
    return label


def is_whole(value: Any) -> bool:
    """Whether `value` is a Python integer, True and False not among them, that 64 bits hold."""
    return type(value) is int and -(2**63) <= value < 2**63


def as_whole(value: Any) -> int | None:
    """`value`, of whatever library, as Python's integer; None if it is no whole number, as True and 2.0 are none."""
    if type(value).__name__.startswith("bool") or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
