"""What a text is, the same for captions and prompts: one line, not empty, not too long, without what is not seen."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.foreign.regular import read_text
from var.names import received, shown

MOST_CHARACTERS = 4096
"""Of a text; encoders read the beginning of such a one at best."""

MOST_BYTES = 2**24
"""Of a file of texts."""

_UNFIT = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


class TextError(UserError):
    """Something is no text: what was `found` instead, and the `remedy`."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"a text must have 1 to {MOST_CHARACTERS} characters, {found}; {remedy}")
        self.found, self.remedy = found, remedy


def one_line(text: Any) -> str:
    """`text` as one line, its white space made single spaces.

    Raises `TextError` for what is no text, has nothing to be seen or a control character (as UTF-16 looks), and for
    more than `MOST_CHARACTERS`.
    """
    if not isinstance(text, str):
        raise TextError(f"got {received(text, 40)}", "write a text")
    line = " ".join(text.split())
    if len(line) > MOST_CHARACTERS:
        raise TextError(f"got {len(line)} characters", f"shorten it to {MOST_CHARACTERS}")
    if found := _UNFIT.search(line):
        raise TextError(f"got the character U+{ord(found[0]):04X} in it", "save it as UTF-8")
    if not any(character.isprintable() and character != " " for character in line):
        raise TextError("got an empty one", "write one or remove it")
    return line


def texts_in(path: Path | str) -> list[str]:
    """The texts in a file, one in each line, as `one_line` gives them; raises `UserError`, with the line."""
    content = read_text(path, most=MOST_BYTES, what="a file of texts").replace("\r\n", "\n").replace("\r", "\n")
    lines = []
    for number, line in enumerate(content.removesuffix("\n").split("\n"), start=1):
        try:
            lines.append(one_line(line))
        except TextError as error:
            raise UserError(f"{shown(path)}, line {number}: {error}") from error
    return lines


def checked_texts(texts: Any, name: str) -> list[str]:
    """The `texts`, a list of them called `name`, each as `one_line` gives it.

    Raises `UserError` for what is no list, for a single text, and, with its place, for one that is none.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise UserError(f"{name} must be a list of texts, got {received(texts, 40)}; put it into a list")
    lines = []
    for place, text in enumerate(texts):
        try:
            lines.append(one_line(text))
        except TextError as error:
            raise UserError(f"{name}[{place}]: {error}") from error
    return lines
