"""Captions as others write them: what is one, where it stands, and what is wrong with one that is none.

A caption is a line of text. One that is missing, empty, too long or no text makes a bad image: an error with its place
when it is asked for, or skipped and counted by `SkipBadImages`.
"""

from collections.abc import Mapping
from typing import Any

from var.errors import UserError
from var.foreign.documents import parse_json
from var.foreign.pictures import BadImageError
from var.names import shown
from var.text.lines import MOST_CHARACTERS, TextError, one_line

MOST_BYTES = 2**16
"""Of a file or member that holds nothing but a caption."""
FIELDS = ("text", "caption")
"""What a caption is called in JSON."""


def checked_caption(text: Any, name: str) -> str:
    """`text` as `one_line` gives it; raises `BadImageError` for what it refuses, where `name` says whose it is."""
    try:
        return one_line(text)
    except TextError as error:
        raise _bad(name, error.found, error.remedy.replace("remove it", "remove the image")) from error


def caption_in_text(content: bytes, name: str) -> str:
    """The caption that is all of a text; errors as for `checked_caption`, and for what is no UTF-8."""
    if len(content) > MOST_BYTES:
        raise _bad(name, f"got {len(content)} bytes", f"shorten it to {MOST_CHARACTERS} characters")
    try:
        return checked_caption(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        found = f"got byte {error.object[error.start]:#04x} at {error.start}, which is no UTF-8"
        raise _bad(name, found, "save it as UTF-8") from error


def caption_in_json(content: bytes, name: str) -> str:
    """The caption in a JSON object; errors as for `caption_of`."""
    if not content.strip():
        return checked_caption("", name)
    try:
        return caption_of(parse_json(content, name, remedy="correct it"), name)
    except BadImageError:
        raise
    except UserError as error:
        raise BadImageError(str(error)) from error


def has_caption(values: Mapping[str, Any]) -> bool:
    """Whether an object has a field of `FIELDS` that is not null."""
    return any(values.get(field) is not None for field in FIELDS)


def caption_of(values: Mapping[str, Any], name: str) -> str:
    """The caption in the fields of an object; errors as for `checked_caption`, and for two that differ."""
    found = [values[field] for field in FIELDS if values.get(field) is not None]
    if len(found) > 1 and found[0] != found[1]:
        raise _bad(name, f"got another in {FIELDS[1]!r} than in {FIELDS[0]!r}", "keep one of them")
    return checked_caption(found[0] if found else None, name)


def no_caption(name: str, remedy: str) -> BadImageError:
    """The error for an image called `name` that has no caption, though others have one."""
    return BadImageError(f"{name} must have a caption as other images have, got none; {remedy}")


def _bad(name: str, found: str, remedy: str) -> BadImageError:
    return BadImageError(
        shown(f"{name} must hold a caption, a text of 1 to {MOST_CHARACTERS} characters, {found}; {remedy}")
    )
