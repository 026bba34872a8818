"""Names of others in a report: one rule for each form, whatever they are made of (fault F17)."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from levelled_sets import LevelJudge, draw_flat

from var.errors import UserError
from var.evaluation.judging import judge
from var.evaluation.report.diff import diff_reports
from var.evaluation.report.page import html, spread_plot
from var.evaluation.report.saving import save
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.report.text import markdown, text
from var.evaluation.sets.reference_statistics import build_statistics

pytestmark = pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")

NAMES = [
    r"$\frac{$",
    "a$b",
    "<script>alert(1)</script>",
    "a | b\n# c",
    "`x` *y* _z_ [l](javascript:1)",
    "\x1b[2J\x07bell",
    "\u202egnp.exe",
    "half \udc80 a pair",
    "{0} %s \\",
    "é 日本 🙂",
    "\0",
    "&lt;b&gt;",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("names")
    real = draw_flat(root / "real", range(1000, 1060), recorded=False)
    build_statistics(real, LevelJudge(), channels=1, progress=False).save(root / "real.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        return judge([draw_flat(root / "a"), draw_flat(root / "b", range(40, 80))], root / "real.npz", LevelJudge())


def named(report, name):
    """A report in which everything that has a name has this one."""
    return replace(
        report,
        name=name,
        distance=f"FD-{name}",
        extractor={"name": name, "digest": name},
        classifier={"name": name, "digest": "0"},
        sets=[{**one, "path": name, "settings": {name: name}} for one in report.sets],
        reference={"path": name, "digest": name},
        protocol={"name": name, "sampling": {name: name}, "per_class": 3, "rounding": name},
        warnings=[f"Class: {name} is none."],
        environment={"versions": {name: name}},
    )


def hidden(shown):
    """What a terminal would obey or not show."""
    return re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


@pytest.mark.parametrize("name", [*NAMES, "x" * 10_000], ids=repr)
def test_every_form_shows_every_name(report, tmp_path, name):
    one = named(report, name)
    plain, marked, page = text([one]), markdown([one]), html([one])
    assert not hidden(plain)
    assert not hidden(marked)
    assert not hidden(page)
    assert "<script" not in marked
    assert "<script" not in page
    assert len(plain) + len(marked) < 60_000
    ElementTree.fromstring(spread_plot([one]))
    rows = [line for line in marked.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert not re.search(r"(?<!\\)[*`$]|(?<!\\)\[l\]", marked)
    assert sum(line.startswith("#") for line in marked.splitlines()) == 1
    save(one, tmp_path / "saved")
    assert ScoreReport.from_json(tmp_path / "saved" / "scores.json") == one
    one.to_json(tmp_path / "a.json")
    for style in ("text", "markdown"):
        shown = diff_reports(tmp_path / "a.json", tmp_path / "saved" / "scores.json", style=style)
        assert not hidden(shown)
        assert "<script" not in shown.replace("<script>", "") or style == "text"


def test_a_plain_name_is_shown_as_it_is(report):
    for shown in (text([report]), markdown([report])):
        assert "FD-levels (lower)" in shown
        assert "n < 10000" in shown
        assert "n -> inf" in shown


@pytest.mark.parametrize("name", ["", " ", "x" * 201, 3])
def test_what_is_no_name_is_refused_before_the_work(report, tmp_path, name):
    from annotations import unchecked

    with unchecked(), pytest.raises(UserError, match="the name of a model must be a text of 1 to 200 characters"):
        judge([tmp_path / "nowhere"], tmp_path / "nowhere.npz", LevelJudge(), name=name)
