"""Names of classes: what every source of them must keep to, so that they can be shown, saved and become folders."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from var.errors import UserError

MOST_CLASSES = 100_000
MOST_BYTES = 255
"""Of a name in UTF-8: no file system takes a longer one."""

_UNFIT = {"Cc": "a control character", "Cs": "a byte that is no UTF-8", "Zl": "a line break", "Zp": "a line break"}


def checked_names(names: Iterable[Any], source: str) -> tuple[str, ...]:
    """`names`, in their order; raises `UserError` for doubles and for what is no plain, short line of text.

    Names that differ only in how Unicode composes their letters, in what is not seen, or in spaces around them count as
    doubles: nobody could tell them apart.
    """
    if isinstance(names, (str, bytes)):
        raise UserError(f"{source}: class names must be a list of texts, got one text {names!r}; put it into a list")
    found: dict[str, str] = {}
    for name in names:
        if reason := _unfit(name):
            raise UserError(
                f"{source}: a class name must be a short line of text, got {_cut(name)}: {reason}; rename it"
            )
        plain = "".join(each for each in unicodedata.normalize("NFC", name) if unicodedata.category(each) != "Cf")
        if (other := found.get(plain := plain.strip())) is not None:
            both = f"{name!r} twice" if other == name else f"{other!r} and {name!r}, which look alike"
            raise UserError(f"{source}: class names must differ from each other, got {both}; rename the doubles")
        found[plain] = name
        _check_count(len(found), source)
    return tuple(found.values())


def numbered_names(count: int, source: str) -> tuple[str, ...]:
    """The names "0", "1", ... of `count` classes that have no others; raises `UserError` for a senseless number."""
    _check_count(count, source)
    return tuple(str(number) for number in range(count))


def _check_count(count: int, source: str) -> None:
    if count > MOST_CLASSES:
        raise UserError(
            f"{source}: there may be at most {MOST_CLASSES} classes, labels from 0 to {MOST_CLASSES - 1}, got a label "
            f"of {count - 1}; number the classes from 0 without gaps"
        )


def _unfit(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"it is of type {type(name).__name__}"
    if (size := len(name.encode(errors="replace"))) > MOST_BYTES:
        return f"it has {size} bytes, more than {MOST_BYTES}"
    if not name.strip() or all(unicodedata.category(each) in ("Cf", "Zs") for each in name):
        return "it is empty"
    for character in name:
        if kind := _UNFIT.get(unicodedata.category(character)):
            return f"it has {kind}"
    return None


def _cut(name: Any) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
