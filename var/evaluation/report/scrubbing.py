"""Stages of a picture under a slider, and two pictures under a swipe: inside the page, and still where no script runs.

Without scripts the last stage and both halves of a swipe are shown; the sliders, which could do nothing, are not.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from var.errors import UserError
from var.evaluation.report.html import Html, element, packaged_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reel:
    """Stages of one picture, all of one size, each with its name."""

    title: str
    stages: Sequence[Image.Image]
    names: Sequence[str]

    def __post_init__(self) -> None:
        sizes = {stage.size for stage in self.stages}
        if len(sizes) != 1 or len(self.names) != len(self.stages):
            raise UserError(
                f"a reel needs stages of one size and a name for each, got {len(self.stages)} of {len(sizes)} sizes "
                f"and {len(self.names)} names; match them"
            )


def scrubber(reels: Sequence[Reel], label: str, *, start: float = 1.0) -> Html:
    """Reels side by side under one slider, which is called `label` and goes from the first to the last stage of each.

    `start`, in [0, 1], is where it stands; reels of fewer stages show each of theirs longer.
    """
    last = max(len(reel.stages) for reel in reels) - 1
    slider = element(
        "input",
        **{"type": "range", "min": "0", "max": str(last), "value": str(round(start * last)), "aria-label": label},
    )
    return element(
        "div", element("div", *(_reel(reel, start) for reel in reels), class_="reels"), slider, class_="scrubber"
    )


def _reel(reel: Reel, start: float) -> Html:
    at = round(start * (len(reel.stages) - 1))
    film = _picture(_strip(reel.stages), reel.stages[0].size, reel.title)
    caption = element("figcaption", element("strong", reel.title), element("output", reel.names[at]))
    style = f"--stages:{len(reel.stages)};--at:{at}"
    return element(
        "figure", film, caption, **{"class": "reel", "style": style, "data-names": json.dumps(list(reel.names))}
    )


def swipe(left: Image.Image, right: Image.Image, *, titles: tuple[str, str], label: str) -> Html:
    """Two pictures of one size on each other; the slider, called `label`, says how much of the left one shows."""
    if left.size != right.size:
        raise UserError(f"pictures under a swipe must be of one size, got {left.size} and {right.size}; resize one")
    slider = element(
        "input", **{"type": "range", "min": "0", "max": "100", "value": "50", "aria-label": label, "class": "cut"}
    )
    pictures = [_picture(each, each.size, title) for each, title in zip((left, right), titles, strict=True)]
    names = [element("span", title) for title in titles]
    return element(
        "figure",
        element("div", *pictures, class_="pair"),
        slider,
        element("figcaption", *names),
        class_="swipe",
        style="--cut:50%",
    )


def scrubbing() -> Html:
    """What makes sliders of a page move: a style and a script, once in a page."""
    return Html(element("style", Html(style())) + element("script", Html(script())))


def style() -> str:
    """The style of `scrubber` and `swipe`, for pages with the variables of the palette."""
    return packaged_text("var.evaluation.report", "scrubbing.css")


def script() -> str:
    """The script of `scrubber` and `swipe`: it listens to the whole page, also to what is put into it later."""
    return packaged_text("var.evaluation.report", "scrubbing.js")


def _strip(stages: Sequence[Image.Image]) -> Image.Image:
    width, height = stages[0].size
    strip = Image.new("RGB", (width * len(stages), height))
    for place, stage in enumerate(stages):
        strip.paste(stage, (place * width, 0))
    return strip


def _picture(picture: Image.Image, size: tuple[int, int], alt: str) -> Html:
    """A box of a picture's shape that shows a part of it, as wide as `size` says: every pixel a square."""
    width, height = size
    style = f"aspect-ratio:{width}/{height};background-image:url({data_uri(picture)})"
    return element("div", class_="film", role="img", style=style, **{"aria-label": alt})


def data_uri(picture: Image.Image) -> str:
    """A picture as an address that holds it, as PNG."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
