"""Building blocks of a page that needs no other file: text is escaped, pictures and style are within."""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from var.errors import UserError
from var.evaluation.report.drawing import PALETTE, style_variables
from var.evaluation.table import Score
from var.names import shown
from var.nested import leaves

_VOID = ("img", "input", "meta")


class Html(str):
    """Text that is markup already; `element` escapes every other text."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Html:
    """An element; children that are not `Html` are escaped, `class_` stands for the attribute class."""
    named = "".join(f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{named}>")
    return Html(f"<{tag}{named}>{joined(children)}</{tag}>")


def joined(children: Iterable[str]) -> Html:
    """Children one after the other; those that are not `Html` are escaped."""
    return Html("".join(child if isinstance(child, Html) else html.escape(child, quote=False) for child in children))


def document(title: str, *children: str) -> Html:
    """A whole page with the report's style inside and no reference to the outside."""
    words = "".join(f".{name} {{ color: var(--{name}); }}" for name in PALETTE)
    style = style_variables() + words + packaged_text("var.evaluation.report", "page.css")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        # An empty icon: without it browsers ask the server for one.
        Html('<link rel="icon" href="data:,">'),
        element("style", Html(style)),
    )
    return Html(f"<!doctype html>\n{element('html', head, element('body', *children), lang='en')}\n")


def packaged_text(package: str, name: str) -> str:
    """A text that comes with a package: a style sheet or a script."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def section(name: str, title: str, *children: str) -> Html:
    """A section that links can reach as #`name`."""
    return element("section", element("h2", title), *children, id=name)


def image(picture: str, alt: str) -> Html:
    """The picture (SVG text) as a data URI, shown in its own size where the page has room."""
    width, height = picture_size(picture)
    data = base64.b64encode(picture.encode()).decode()
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}", "style": f"--natural:{width:.0f}px"}
    return element("img", src=f"data:image/svg+xml;base64,{data}", alt=alt, **size)


def live_picture(picture: str, alt: str) -> Html:
    """The picture (SVG text) as a part of the page, so that what it says to pointers and keys is said."""
    width, _ = picture_size(picture)
    named = {"role": "group", "aria-label": alt, "style": f"--natural:{width:.0f}px"}
    return element("div", Html(re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", picture)), class_="live", **named)


def picture_size(picture: str) -> tuple[float, float]:
    """(width, height) of an SVG in pixels; raises `UserError` for what is none, or does not state them."""
    root = picture.partition(">")[0]
    found = [re.search(rf'\s{name}="([\d.]+)"', root) for name in ("width", "height")]
    if not root.startswith("<svg") or None in found:
        raise UserError(f"a picture must be SVG text with width and height, got {picture[:24]!r}; render it anew")
    width, height = (float(match[1]) for match in found if match)
    return width, height


def figure(picture: str, caption: str, *, alt: str, title: str = "", wide: bool = False, live: bool = False) -> Html:
    """A picture with its caption; a `wide` one scrolls on narrow screens, a `live` one answers to the pointer."""
    shown = live_picture(picture, alt) if live else image(picture, alt)
    body = element("div", shown, class_="scroll wide", tabindex="0") if wide else shown
    heading = [element("h3", title)] if title else []
    return element("figure", *heading, body, element("figcaption", caption))


def explained(scores: Iterable[Score]) -> Html:
    """A list of titles of scores and what they mean."""
    terms = [part for one in scores for part in (element("dt", one.title), element("dd", one.meaning))]
    return element("dl", *terms, class_="terms")


def score_rows(head: Iterable[str], *bodies: str) -> Html:
    """A table of scores, which scrolls on narrow screens; `head` are its cells."""
    table = element("table", element("thead", element("tr", *head)), *bodies, class_="scores")
    return element("div", table, class_="scroll", tabindex="0")


def facts(rows: Iterable[tuple[str, str]]) -> Html:
    """A table of names and values."""
    lines = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    return element("table", element("tbody", *lines), class_="facts")


def settings_table(content: Mapping[str, Any]) -> Html:
    """A table of the leaves of nested `content`, under their dotted names: `var.steps`."""
    return facts((shown(name), shown(_written(value))) for name, value in leaves(content))


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def bullets(items: Sequence[str], class_: str = "") -> Html:
    """A list; the words up to the first colon of each item are set in bold."""
    lines = []
    for item in items:
        lead, colon, rest = item.partition(": ")
        lines.append(element("li", *([element("strong", f"{lead}:"), f" {rest}"] if colon else [item])))
    return element("ul", *lines, class_=class_)
