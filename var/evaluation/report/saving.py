"""A report of scores in all its forms, side by side in a folder."""

from pathlib import Path

from var.evaluation.report.page import html
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.report.text import markdown
from var.files import make_folder, write_text


def save(report: ScoreReport, folder: Path | str) -> None:
    """Write `scores.json`, `scores.md` and `scores.html` into `folder`; raises `UserError` without matplotlib."""
    folder = make_folder(folder)
    report.to_json(folder / "scores.json")
    write_text(folder / "scores.md", markdown([report]))
    write_text(folder / "scores.html", html([report]))
