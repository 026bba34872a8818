"""The one error that the command line turns into a line and exit code 2."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from var.names import received, shown

MOST = 3000
"""Characters of a message; what is cut out of the middle is said."""

Row = TypeVar("Row")

LISTED = 60
"""Names that a message lists; of more it tells the nearest."""


class UserError(ValueError):
    """A mistake in what the user gave: the message names the rule, the value received and the remedy.

    It is a `ValueError`, so that library users need no import of ours to catch it; the command lines print it as one
    line without a traceback. Whatever names of others are in the message, it is one line of a bounded length, in which
    nothing is hidden and a terminal finds nothing to obey.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(" ".join(message.split()), MOST))


class ToldError(UserError):
    """A mistake that another process of the run tells: the command line only leaves with its code."""


def first_line(error: BaseException) -> str:
    """The first line with words in an error's message, else its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def listed(words: Sequence[str], most: int) -> str:
    """The first `most` of `words`, and how many more there are."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def suggestion(name: object, known: Iterable[str]) -> str:
    """A remedy for an unknown `name`: the nearest known names, else all of them, if they are not too many."""
    known, name = sorted(known), name if isinstance(name, str) else received(name)
    plain = {word.casefold(): word for word in reversed(known)}
    near = difflib.get_close_matches(name.casefold(), plain, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(repr(plain[n]) for n in near)}?"
    if len(known) > LISTED:
        near = difflib.get_close_matches(name.casefold(), plain, n=3, cutoff=0)
        return f"the nearest of {len(known)} are {', '.join(repr(plain[n]) for n in near)}"
    return f"choose one of {', '.join(repr(n) for n in known)}"


def chosen(name: str, table: Mapping[str, Row], kind: str) -> Row:
    """The row `name` of a `table` of things of a `kind`; raises `UserError` with suggestions for an unknown one."""
    if not isinstance(name, str) or name not in table:
        raise UserError(f"unknown {kind} {received(name)}; {suggestion(name, table)}")
    return table[name]
