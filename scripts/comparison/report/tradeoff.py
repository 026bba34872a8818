"""The plot of distance against sampling time, on which one sees who is on the front where."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from comparison.families import FAMILIES
from comparison.report.columns import COLORS, MODELS, REAL, control_title, setting
from comparison.report.fairness import Row, equal_distance, front
from comparison.report.hovering import with_hover
from comparison.report.results import Report
from var.evaluation.report.drawing import LIGHT, chart, plain_log_ticks, svg
from var.quantities import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 980, 520
_SHOWN_CONTROLS = {**dict.fromkeys(REAL, "-"), "class_gaussian": "--"}
_LETTER, _LINE = 6.2, 14.0  # about the size of a letter at 11 pixels, in pixels

MANY = 3
"""Models beyond which the legend tells them by their colours alone, in rows."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


def tradeoff_plot(report: Report) -> str:
    """Distance against sampling time (log) for every setting of all models, as SVG text.

    Marks on the joint front are filled and joined by a band, headline settings are ringed, controls are horizontal
    lines; a thin line joins settings that differ in one number only.
    """
    figure, (axes,) = chart(WIDTH, HEIGHT)
    _scale(axes, report)
    best = front(report.results)
    # Drawn first, so that it lies below the marks.
    axes.plot(*_points(best), color=LIGHT["line"], linewidth=12, solid_capstyle="round", solid_joinstyle="round")
    for rows in _families(report.results):
        axes.plot(*_points(rows), color=_color(rows[0]), linewidth=1, alpha=0.6)
    for row in report.results:
        on_front = any(row is other for other in best)
        face = _color(row) if on_front else LIGHT["paper"]
        axes.plot(*_points([row]), _mark(row), **_mark_style(row["model"], face))
    heads = [row for row in report.results if row.get("headline")]
    axes.plot(*_points(heads), "o", markersize=17, markerfacecolor="none", markeredgecolor=LIGHT["ink"])
    figure.draw_without_rendering()  # the layout must be settled before labels are placed in pixels
    taken = _control_lines(axes, report) + [_around(axes, row) for row in report.results]
    _equal_distance_arrow(axes, report, taken)
    _label_settings(axes, [*heads, *best, *report.results], taken)
    _legend(axes, report)
    marks = [(x, HEIGHT - y, _told(report, row)) for row in report.results for x, y in [_pixels(axes, _xy(row))]]
    return with_hover(svg(figure), marks, (WIDTH, HEIGHT))


def _told(report: Report, row: Row) -> list[str]:
    """What is said of a setting where its mark is pointed at."""
    seconds, distance = _xy(row)
    return [
        setting(row) if MODELS[row["model"]] in setting(row) else f"{MODELS[row['model']]}, {setting(row)}",
        f"{report.distance_name} {significant(distance)}",
        f"{significant(seconds)} s per 1000 images",
        f"{row['nfe']} network evaluations per image" if "nfe" in row else f"{row['steps']} steps",
    ]


def _points(rows: Iterable[Row]) -> tuple[list[float], list[float]]:
    points = [_xy(row) for row in rows]
    return [x for x, _ in points], [y for _, y in points]


def _color(row: Row) -> str:
    return LIGHT[COLORS[row["model"]]]


def _mark(row: Row) -> str:
    contender = FAMILIES[row["model"]]
    return contender.samplers.get(row["sampler"], contender.other_mark)


def _mark_style(model: str, face: str) -> dict[str, Any]:
    return {"color": LIGHT[COLORS[model]], "markersize": 7, "markeredgewidth": 1.5, "markerfacecolor": face}


def _families(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that a line joins, as their family says."""
    families: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[FAMILIES[row["model"]].order]):
        alike = map(str, map(row.get, FAMILIES[row["model"]].alike))  # what is listed by scale is no key
        families.setdefault((row["model"], *alike), []).append(row)
    return list(families.values())


def _scale(axes: "Axes", report: Report) -> None:
    """Axes that hold every setting and the shown controls, with room for labels."""
    seconds, distances = _points(report.results)
    distances += [float(report.controls[name]["fd"]) for name in _SHOWN_CONTROLS if name in report.controls]
    axes.grid(visible=False)
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 1.9, max(seconds) * 1.7)
    low, high = min(distances), max(distances)
    if low > 0 and high > 5 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.25, high * 1.2)
        plain_log_ticks(axes.yaxis)
    else:
        axes.set_ylim(min(0.0, low), high * 1.1)
    wide = max(seconds) > 300 * min(seconds)
    plain_log_ticks(axes.xaxis, (1, 3) if wide else (1, 2, 5))
    axes.set_xlabel("seconds per 1000 images (log)")
    direction = " (log)" if axes.get_yscale() == "log" else ""
    axes.set_ylabel(f"{report.distance_name}{direction}, lower is better")


def _control_lines(axes: "Axes", report: Report) -> list[Box]:
    """Horizontal lines with names at the right edge; returns the places of the names."""
    boxes = []
    left, right = axes.get_xlim()
    for name, line in _SHOWN_CONTROLS.items():
        if name not in report.controls:
            continue
        fd = float(report.controls[name]["fd"])
        text = f"{control_title(name)} {fd:.2f}"
        axes.axhline(fd, color=LIGHT["muted"], linewidth=1.2, linestyle=line, zorder=0.5)
        _note(axes, text, (right, fd), (0, 4), "right", color=LIGHT["muted"])
        (start, y), (end, _) = _pixels(axes, (left, fd)), _pixels(axes, (right, fd))
        boxes += [(start, y - 1, end, y + 1), (end - _LETTER * len(text), y, end, y + _LINE + 4)]
    return boxes


def _equal_distance_arrow(axes: "Axes", report: Report, taken: list[Box]) -> None:
    """From the headline of the first of two models to where the other reaches its distance, and the times' ratio."""
    if len(report.models) != 2:
        return
    first, second = report.models
    head = report.headline(first)
    cost = equal_distance(report.rows(second), head["fd"])
    if cost is None:
        return
    ratio = cost.seconds / head["seconds_per_1000_images"]
    if not (ratio > 1.5 or ratio < 1 / 1.5):
        return  # too short to be seen
    start, end = _xy(head), (cost.seconds, head["fd"])
    arrow = {"arrowstyle": "->", "color": LIGHT["ink"], "linewidth": 1.1, "shrinkA": 11, "shrinkB": 2}
    axes.annotate("", end, start, arrowprops=arrow)
    factor = f"{max(ratio, 1 / ratio):.1f}x the time at equal distance"
    middle = (start[0] * end[0]) ** 0.5, head["fd"]
    (x, y), half = _pixels(axes, middle), _LETTER * len(factor) / 2
    _note(axes, factor, middle, (0, 5), "center", color=LIGHT["ink"])
    taken.append((x - half, y - 4, x + half, y + 5 + _LINE))


def _label_settings(axes: "Axes", rows: Sequence[Row], taken: list[Box]) -> None:
    """Name settings in order of importance, where there is room; the rest stays without a name."""
    named: list[Row] = []
    frame = axes.get_window_extent()
    for row in rows:
        if any(row is other for other in named):
            continue
        head = bool(row.get("headline"))
        text, reach = _label(row, head), 12.0 if head else 8.0
        width = _LETTER * len(text) * (1.08 if head else 1)
        x, y = _pixels(axes, _xy(row))
        for align, dx, dy in (
            ("left", reach, 4.0),
            ("left", reach, -_LINE),
            ("right", -reach, 4.0),
            ("right", -reach, -_LINE),
            ("center", 0.0, reach),
            ("center", 0.0, -reach - _LINE + 3),
        ):
            left = x + dx - {"left": 0, "right": width, "center": width / 2}[align]
            box = (left, y + dy - 2, left + width, y + dy + _LINE - 3)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not any(_overlap(box, other) for other in taken):
                weight = "bold" if head else "normal"
                _note(axes, text, _xy(row), (dx, dy), align, color=_color(row), fontweight=weight)
                taken.append(box)
                named.append(row)
                break


def _label(row: Row, head: bool) -> str:
    return setting(row) if head else FAMILIES[row["model"]].mark_title(row)


def _xy(row: Row) -> Point:
    return float(row["seconds_per_1000_images"]), float(row["fd"])


def _pixels(axes: "Axes", point: Point) -> tuple[float, float]:
    """Where a point of the data lies on the figure."""
    x, y = axes.transData.transform(point)
    return float(x), float(y)


def _around(axes: "Axes", row: Row) -> Box:
    x, y = _pixels(axes, _xy(row))
    reach = 9 if row.get("headline") else 5
    return x - reach, y - reach, x + reach, y + reach


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _note(axes: "Axes", text: str, point: Point, offset: Point, align: str, **style: Any) -> None:
    axes.annotate(text, point, offset, textcoords="offset points", ha=align, fontsize=11, **style)


def _legend(axes: "Axes", report: Report) -> None:
    from matplotlib.lines import Line2D

    marks, many = [], len(report.models) > MANY
    shown: dict[tuple[str, str], Row] = {}
    for row in report.results:
        shown.setdefault((row["model"], "" if many else row["sampler"]), row)
    for (model, sampler), row in shown.items():
        several = len(FAMILIES[model].samplers) > 1 and not many
        name = f"{MODELS[model]}, {FAMILIES[model].sampler_title(sampler)}" if several else MODELS[model]
        face = LIGHT[COLORS[model]]
        marks.append(Line2D([], [], linestyle="", marker=_mark(row), label=name, **_mark_style(model, face)))
    front_mark = {"color": LIGHT["line"], "linewidth": 10, "label": "Front: filled marks"}
    ring = {"marker": "o", "linestyle": "", "markersize": 14, "markerfacecolor": "none", "color": LIGHT["ink"]}
    marks += [Line2D([], [], **front_mark), Line2D([], [], label="Headline", **ring)]
    axes.legend(
        handles=marks,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=5 if many else len(marks),
        frameon=False,
        fontsize=12,
        labelcolor=LIGHT["ink"],
        handlelength=1.6,
        handletextpad=0.7,
        columnspacing=1.8,
        borderaxespad=0.4,
    )
