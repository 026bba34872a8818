"""Names of others - of files, classes, models - as they are shown: in a terminal, in Markdown, in a plot.

HTML has an escape of its own in the standard library, `html.escape`.
"""

import re
import unicodedata

MOST_SHOWN = 500
"""Characters of a name that are shown; what is cut out of the middle is said."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's classes of what is not seen as itself: controls, directions, halves of pairs, what has no meaning."""


def shown(name: object) -> str:
    """`name` in one line without anything that a terminal obeys: what is not seen as itself is written as its code."""
    text = str(name)
    if not text.isprintable():
        text = "".join(_escaped(each) if _is_hidden(each) else each for each in text)
    if len(text) > MOST_SHOWN:
        half = MOST_SHOWN // 2
        text = f"{text[:half]}[... {len(text) - 2 * half} more ...]{text[-half:]}"
    return text


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


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
