"""Names of others - of files, classes, models - as they are shown: in a terminal, in Markdown, in a plot.

HTML has an escape of its own in the standard library, `html.escape`.
"""

import re
import unicodedata

MOST_SHOWN = 500
"""Characters of a name that are shown; what is cut out of the middle is said."""

MOST_RECEIVED = 100
"""Characters of a value that a user gave, where an error tells of it."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's classes of what is not seen as itself: controls, directions, halves of pairs, what has no meaning."""


def escaped(text: str, keep: str = "") -> str:
    """`text` without anything that a terminal obeys: what is not seen as itself, but for `keep`, stands as its code."""
    if text.isprintable():
        return text
    return "".join(ascii(each)[1:-1] if _is_hidden(each) and each not in keep else each for each in text)


def shown(name: object, most: int = MOST_SHOWN) -> str:
    """`name` in one line, `escaped`, and cut in the middle where it has more than `most` characters."""
    text = escaped(str(name))
    if len(text) > most:
        text = f"{text[: most // 2]}[... {len(text) - most} more ...]{text[-(most // 2) :]}"
    return text


def received(value: object, most: int = MOST_RECEIVED) -> str:
    """The beginning of what Python writes for `value`, as an error tells what it got, whatever that is."""
    try:
        return repr(value)[:most]
    except Exception:  # of numbers of more digits than Python writes, alone or in a list; and by what others wrote
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"


def in_markdown(name: object) -> str:
    """`name` as plain text inside a paragraph, a heading or a table of Markdown."""
    text = shown(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", text)


def in_plot(name: object) -> str:
    """`name` as matplotlib draws it literally, where "$" would begin mathematics."""
    return shown(name).replace("$", r"\$")


def _is_hidden(character: str) -> bool:
    # The joiner makes one emoji of several, and belongs to the spelling of some languages.
    return unicodedata.category(character) in _HIDDEN and character not in "\u200c\u200d"
