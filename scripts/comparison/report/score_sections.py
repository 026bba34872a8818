"""The numbers of the page: four tiles at its head, the table of settings and controls, and what the scores mean."""

import re
from collections.abc import Mapping
from typing import Any

from comparison.report.columns import COLORS, MODELS, control_title, real_control, score_columns, setting
from comparison.report.families import is_of_families
from comparison.report.results import Report
from comparison.report.verdict import winners
from var.evaluation.report.html import Html, element, explained, score_rows
from var.evaluation.table import Score


def tiles(report: Report) -> Html:
    """The four numbers that matter most, side by side for all models."""
    columns = {column.key: column for column in score_columns(report.distance_name)}
    titles = {
        "fd": report.distance_name,
        "seconds_per_1000_images": "Seconds per 1000 images",
        "class_consistency": "Class consistency",
        "recall": "Recall",
    }
    # Names and numbers of many models, or numbers with a spread, need the room of two tiles.
    broad = is_of_families(report) or any("spread" in row for row in report.headlines().values())
    shown = (_tile(report, columns[key], title) for key, title in titles.items())
    return element("div", *shown, class_="tiles broad" if broad else "tiles")


def _tile(report: Report, column: Score, title: str) -> Html:
    rows = report.headlines()
    winner = winners(report).get(column.key)
    lines = [
        element(
            "tr",
            element("th", MODELS[model], class_=COLORS[model], scope="row"),
            element("td", cell(column, row), class_="best" if model == winner else ""),
        )
        for model, row in rows.items()
    ]
    found = real_control(report.controls)
    name, real = ("", None) if found is None else (control_title(found[0]), found[1].get(column.key))
    note = f"{column.better} is better" + ("" if real is None else f"\n{name.lower()}: {column.cell(real)}")
    return element("div", element("h3", title), element("table", *lines), element("p", note), class_="tile")


def cell(column: Score, row: Mapping[str, Any]) -> str:
    """A score of a row, with its deviation over training seeds, to as many decimals, where there are several."""
    deviation = row.get("spread", {}).get(column.key)
    text = column.cell(row.get(column.key))
    if deviation is None:
        return text
    plain = re.fullmatch(r"-?\d+(?:\.(\d+))?", text)
    spread = f"{deviation:.{len(plain[1] or '')}f}" if plain else column.cell(deviation)
    return f"{text} \N{PLUS-MINUS SIGN} {spread}"


def _best(column: Score, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row with the better score as it is written; None if they look alike or the score has no better side."""
    if column.better is None or any(row.get(column.key) is None for row in rows):
        return None
    if len({column.cell(row.get(column.key)) for row in rows}) == 1:
        return None
    choose = min if column.better == "lower" else max
    return choose(rows, key=lambda row: row[column.key])


def results(report: Report) -> list[Html]:
    note = (
        "Above, the headline settings, the best score in bold. Below, in grey, the controls, which say what a score is "
        "worth: real images set the floor (where distances are to test images, it is that of as many training images, "
        "and all else is that of test images); a Gaussian per class in pixel space and "
        "token marginals (each token drawn on its own, given the class) are what a model must beat. "
        f"{report.distance_name} shrinks as the number of images grows, so compare rows of equal size."
    )
    columns = score_columns(report.distance_name, families=is_of_families(report))
    rest = [row for row in report.results if not row.get("headline")]
    rows = sorted(rest, key=lambda row: (list(MODELS).index(row["model"]), row["sampler"], row["steps"]))
    every = _score_table(columns, {"": [(setting(row), row) for row in rows]})
    everything = element("details", element("summary", f"All {len(rows)} other settings that were tried"), every)
    labelled = report.labelled_rows()
    bodies = {
        "": [(label, row) for label, row in labelled if "model" in row],
        "controls": [(label, row) for label, row in labelled if "model" not in row],
    }
    return [
        _score_table(columns, bodies, mark_best=True),
        element("p", note, class_="note"),
        *([everything] if rows else []),
        element("details", element("summary", "What the scores mean"), explained(columns)),
    ]


def _score_table(
    columns: list[Score], bodies: dict[str, list[tuple[str, dict[str, Any]]]], *, mark_best: bool = False
) -> Html:
    """A table with one body for each class name in `bodies`."""
    heads = [element("th", "", scope="col")]
    for column in columns:
        hints = "\n".join(hint for hint in (column.unit, column.better) if hint)
        heads.append(
            element("th", column.title.replace(" ", "\n"), element("small", hints), scope="col", title=column.meaning)
        )
    parts = []
    for name, rows in bodies.items():
        scores = [row for _, row in rows]
        best = {column.key: _best(column, scores) if mark_best and name == "" else None for column in columns}
        lines = []
        for label, row in rows:
            head = element("th", label, scope="row", class_=COLORS.get(row.get("model", ""), ""))
            cells = [
                element("td", cell(column, row), class_="best" if row is best[column.key] else "") for column in columns
            ]
            lines.append(element("tr", head, *cells))
        parts.append(element("tbody", *lines, class_=name))
    return score_rows(heads, *parts)
