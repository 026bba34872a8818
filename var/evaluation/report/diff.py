"""Two reports of scores side by side: what moved, by how much of its spread, and what was not the same."""

import math
import textwrap
from pathlib import Path
from typing import Any, Literal

from var import nested
from var.errors import UserError
from var.evaluation.report.score_report import ScoreReport, read_reports
from var.evaluation.report.text import WIDTH, aligned, cells
from var.evaluation.table import Score, titled


def diff_reports(first: Path | str, second: Path | str, *, style: Literal["text", "markdown"] = "text") -> str:
    """All scores of two JSON files of reports, model by model.

    Models are matched by name, or, where each file has one, whatever they are called. Raises `UserError` if there is
    nothing to match, or a file is no report.
    """
    a, b = read_reports(first), read_reports(second)
    pairs = [(name, a[name], b[name]) for name in a if name in b]
    if not pairs and len(a) == len(b) == 1:
        (one,), (other,) = a.values(), b.values()
        pairs = [(f"{one.name} and {other.name}", one, other)]
    if not pairs:
        raise UserError(f"two reports need a model in common, got {sorted(a)} and {sorted(b)}; compare like with like")
    return "\n\n".join(_markdown(*pair) if style == "markdown" else _text(*pair) for pair in pairs)


def differences(a: ScoreReport, b: ScoreReport) -> list[str]:
    """What else than the model differs, a sentence each: such reports are not comparable without a thought."""
    found = nested.differences(_conditions(a), _conditions(b))
    return [f"Not the same: {name} is {_shown(first)} and {_shown(second)}." for name, first, second in found]


def _rows(a: ScoreReport, b: ScoreReport) -> list[list[str]]:
    rows = [["", "A", "sd", "B", "sd", "B - A", "better"]]
    for score in titled(a.distance):
        first, second = a.spread(score.key), b.spread(score.key)
        if first is None and second is None:
            continue
        (mean, deviation, _), (other, other_deviation, _) = cells(score, first), cells(score, second)
        change, verdict = "-", ""
        if first is not None and second is not None:
            change = f"{second.mean - first.mean:+.3g}"
            error = math.hypot(*(_error(spread.deviation, len(spread.values)) for spread in (first, second)))
            verdict = _verdict(score, second.mean - first.mean, error)
        rows.append([score.title, mean, deviation, other, other_deviation, change, verdict])
    return rows


def _verdict(score: Score, change: float, error: float) -> str:
    if score.better is None or change == 0:
        return ""
    if math.isnan(error):
        return "unknown: one seed"
    if abs(change) <= 2 * error:
        return "level"
    return "B" if (change < 0) == (score.better == "lower") else "A"


def _error(deviation: float | None, count: int) -> float:
    """Standard error of a mean over sets; not a number for a single one."""
    return math.nan if deviation is None else deviation / math.sqrt(count)


def _text(title: str, a: ScoreReport, b: ScoreReport) -> str:
    rows = _rows(a, b)
    notes = [line for note in differences(a, b) for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]
    return "\n".join([title, *aligned(rows), *notes])


def _markdown(title: str, a: ScoreReport, b: ScoreReport) -> str:
    rows = _rows(a, b)
    lines = [f"| {' | '.join(cell.strip() for cell in row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
    return "\n".join([f"## {title}", "", *lines, "", *(f"- {note}" for note in differences(a, b))])


def _conditions(report: ScoreReport) -> dict[str, Any]:
    reference = {key: value for key, value in report.reference.items() if key != "path"}
    return {
        "distance": report.distance,
        "extractor": report.extractor,
        "classifier": report.classifier,
        "reference": reference,
        "protocol": report.protocol,
        "samples": [one["samples"] for one in report.sets],
        "generation seeds": len(report.sets),
        "versions": report.environment.get("versions", {}),
    }


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
