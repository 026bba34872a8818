"""Reports of scores as a page: the table, the distances of all seeds beside the floor, and where the bias goes."""

from collections.abc import Sequence

from var.evaluation.report.drawing import LIGHT, chart, svg
from var.evaluation.report.html import (
    Html,
    bullets,
    document,
    element,
    explained,
    figure,
    score_rows,
    section,
    settings_table,
)
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.report.text import DISTANCE_WIDTH, notes_on, score_table, short
from var.evaluation.table import titled
from var.names import in_plot, shown

_COLORS = ("blue", "orange", "violet")


def html(reports: Sequence[ScoreReport]) -> str:
    """A page that needs no other file; raises `UserError` without matplotlib."""
    title = "Scores of " + " and ".join(shown(report.name) for report in reports)
    main = element(
        "main",
        section("scores", "Scores over generation seeds", *spread_body(reports)),
        section("meanings", "What the scores mean", explained(titled(shown(reports[0].distance)))),
        _settings(reports),
    )
    return document(title, element("header", element("h1", title)), main)


def spread_body(reports: Sequence[ScoreReport]) -> list[Html]:
    """Table, plot and notes, for this page and for the one of a comparison."""
    distance = shown(reports[0].distance)
    caption = (
        f"Every dot is the {distance} of one generation seed; the line is the mean, the open ring the extrapolation to "
        "infinitely many samples, the dashed line what as many real images would score."
    )
    plot = figure(spread_plot(reports), caption, alt=f"Dot plot of {distance} by model.")
    return [_table(reports), plot, bullets(notes_on(reports))]


def spread_plot(reports: Sequence[ScoreReport]) -> str:
    """The distance of each seed, its mean, its limit for infinitely many samples, and the floor, as SVG text."""
    figure_, (axes,) = chart(620, 90 + 46 * len(reports))
    for place, report in enumerate(reports):
        color = LIGHT[_COLORS[place % len(_COLORS)]]
        values, limit = report.spread("fd"), report.spread("fd_infinity")
        assert values is not None  # every report has it
        axes.plot([values.mean] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2)
        axes.plot(values.values, [place] * len(values.values), "o", color=color, markersize=7, alpha=0.8)
        if limit is not None:
            axes.plot([limit.mean], [place], "o", markersize=9, markerfacecolor="none", color=color)
        if report.floor is not None:
            at = [report.floor["at_samples"]] * 2
            axes.plot(at, [place - 0.4, place + 0.4], "--", color=LIGHT["muted"], linewidth=1.2)
    axes.set_yticks(range(len(reports)), [in_plot(short(report.name)) for report in reports])
    axes.set_ylim(len(reports) - 0.4, -0.6)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.grid(visible=False)
    axes.set_xlabel(f"{in_plot(short(reports[0].distance, DISTANCE_WIDTH))}, lower is better")
    return svg(figure_)


def _table(reports: Sequence[ScoreReport]) -> Html:
    rows = score_table(reports)
    head = [element("th", cell, scope="col") for cell in rows[0]]
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows[1:]
    ]
    return score_rows(head, element("tbody", *body))


def _settings(reports: Sequence[ScoreReport]) -> Html:
    blocks = []
    for report in reports:
        about = {
            "extractor": report.extractor,
            "reference": report.reference,
            "protocol": report.protocol or {},
            "sets": dict(enumerate(report.sets)),
            "environment": report.environment,
        }
        blocks += [element("h3", shown(report.name)), settings_table(about)]
    return section("settings", "Origin of the numbers", *blocks)
