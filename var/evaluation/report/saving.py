"""A report of scores in all its forms, side by side in a folder."""

from pathlib import Path

from var.evaluation.report.page import html as html_of
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.report.text import markdown as markdown_of
from var.files import make_folder, write_text

FORMS = {"json": "scores.json", "markdown": "scores.md", "html": "scores.html"}
"""The files of a saved report, by form."""


def save(report: ScoreReport, folder: Path | str) -> None:
    """Write `scores.json`, `scores.md` and `scores.html` into `folder`; raises `UserError` without matplotlib."""
    folder = make_folder(folder)
    save_forms(report, **{form: folder / name for form, name in FORMS.items()})


def save_forms(
    report: ScoreReport,
    *,
    json: Path | str | None = None,
    markdown: Path | str | None = None,
    html: Path | str | None = None,
) -> None:
    """Write the report in the forms that a file is given for; that which holds all numbers first."""
    if json is not None:
        report.to_json(json)
    for path, render in ((markdown, markdown_of), (html, html_of)):
        if path is not None:
            write_text(path, render([report]))
