"""Two reports of scores side by side: what moved, by how much of its spread, and what was not the same."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from var import nested
from var.errors import UserError
from var.evaluation.report.score_report import ScoreReport, Spread, read_reports
from var.evaluation.report.text import DISTANCE_WIDTH, aligned, cells, markdown_section, short, wrapped
from var.evaluation.table import Score, titled
from var.names import in_markdown, shown


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
    return [f"Not the same: {shown(name)} is {_shown(first)} and {_shown(second)}." for name, first, second in found]


def _rows(a: ScoreReport, b: ScoreReport, name: Callable[[object], str] = shown) -> list[list[str]]:
    rows = [["", "A", "sd", "B", "sd", "B - A", "better"]]
    for score in titled(name(short(a.distance, DISTANCE_WIDTH))):
        first, second = a.spread(score.key), b.spread(score.key)
        if first is None and second is None:
            continue
        change, verdict = "-", ""
        if first is not None and second is not None:
            change = f"{second.mean - first.mean:+.3g}"
            verdict = _verdict(score, second.mean - first.mean, math.hypot(_error(first), _error(second)))
        rows.append([score.title, *cells(score, first)[:2], *cells(score, second)[:2], change, verdict])
    return rows


def _verdict(score: Score, change: float, error: float) -> str:
    if score.better is None or change == 0:
        return ""
    if math.isnan(error):
        return "unknown: one seed"
    if abs(change) <= 2 * error:
        return "level"
    return "B" if (change < 0) == (score.better == "lower") else "A"


def _error(spread: Spread) -> float:
    """Standard error of a mean over sets; not a number for a single one."""
    return math.nan if spread.deviation is None else spread.deviation / math.sqrt(len(spread.values))


def _text(title: str, a: ScoreReport, b: ScoreReport) -> str:
    return "\n".join([shown(title), *aligned(_rows(a, b)), *wrapped(differences(a, b))])


def _markdown(title: str, a: ScoreReport, b: ScoreReport) -> str:
    return f"## {in_markdown(title)}\n\n{markdown_section(_rows(a, b, in_markdown), differences(a, b))}"


def _conditions(report: ScoreReport) -> dict[str, Any]:
    return {
        **{name: getattr(report, name) for name in ("distance", "extractor", "classifier")},
        "reference": {key: value for key, value in report.reference.items() if key != "path"},
        "protocol": report.protocol,
        "samples": [one["samples"] for one in report.sets],
        "generation seeds": len(report.sets),
        "versions": report.environment.get("versions", {}),
    }


def _shown(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
