"""The plot of distance against time in the report of a comparison, with a line where the last images were drawn."""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.evaluation.report.html import Html, element
from var.foreign.documents import read_json
from var.quantities import significant

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 24, 44
COLOURS = {"var": "blue", "diffusion": "orange"}

Row = Mapping[str, Any]


def settings_in(report: Path) -> list[Row]:
    """The settings that a report compares; raises `UserError` for a file that is no report."""
    rows = read_json(report).get("results")
    keys = ("seconds_per_1000_images", "fd")
    if not isinstance(rows, list) or not rows or not all(_positive(row, keys) for row in rows):
        raise UserError(f"{report} must be the report.json of a comparison, got another file; pass that of compare.py")
    return rows


def front_plot(rows: Sequence[Row], now: Mapping[str, float]) -> Html:
    """Distance over seconds per 1000 images, both logarithmic; `now` are the seconds that models took here, by name."""
    times = [row["seconds_per_1000_images"] for row in rows] + list(now.values())
    x = _axis(times, LEFT, WIDTH - RIGHT)
    y = _axis([row["fd"] for row in rows], HEIGHT - BOTTOM, TOP)
    parts = [*_ticks(x, times, vertical=True), *_ticks(y, [row["fd"] for row in rows], vertical=False)]
    for name, seconds in now.items():
        colour = COLOURS.get(name.lower(), "muted")
        where = x(seconds)
        anchor = "end" if where > WIDTH - 60 else "middle"
        parts.append(
            f'<line x1="{where:.1f}" x2="{where:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" class="now {colour}"/>'
        )
        parts.append(f'<text x="{where:.1f}" y="{TOP - 8}" text-anchor="{anchor}" class="{colour}">{name}, now</text>')
    parts += [_mark(row, x(row["seconds_per_1000_images"]), y(row["fd"])) for row in rows]
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">seconds per 1000 images</text>')
    label = "Distance of settings against the time of sampling; lower and further to the left is better."
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{label}">{"".join(parts)}</svg>'
    return element(
        "figure", Html(svg), element("figcaption", f"{label} Point at a mark for its numbers."), class_="front"
    )


def _mark(row: Row, x: float, y: float) -> str:
    colour = COLOURS.get(str(row.get("model")), "muted")
    told = (
        f"{row.get('model')}, {row.get('sampler')}, {row.get('steps')} steps, guidance {row.get('guidance_scale')}: "
        f"distance {significant(row['fd'])}, {significant(row['seconds_per_1000_images'])} s per 1000 images"
    )
    told = html.escape(told)
    return (
        f'<g class="mark {colour}" tabindex="0" role="img" aria-label="{told}"><title>{told}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{8 if row.get("headline") else 5}"/></g>'
    )


def _positive(row: Any, keys: Sequence[str]) -> bool:
    values = [row.get(key) if isinstance(row, dict) else None for key in keys]
    return all(isinstance(value, int | float) and 0 < value < math.inf for value in values)


def _axis(values: Sequence[float], start: float, end: float):
    low, high = math.log(min(values) / 1.2), math.log(max(values) * 1.2)
    return lambda value: start + (end - start) * (math.log(value) - low) / (high - low)


def _ticks(axis, values: Sequence[float], *, vertical: bool) -> list[str]:
    low, high = min(values) / 1.2, max(values) * 1.2
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    texts = []
    for value in marks:
        at, text = axis(value), f"{value:g}"
        place = (
            f'x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle"'
            if vertical
            else f'x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end"'
        )
        line = (
            f'x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
            if vertical
            else f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"'
        )
        texts.append(f'<line {line} class="grid"/><text {place}>{text}</text>')
    return texts
