"""One table owns every score: what is in it is measured, saved and shown, and nothing else is."""

import dataclasses
import json

import pytest

from var.evaluation import Reference, evaluate, table
from var.evaluation.report.diff import diff_reports
from var.evaluation.report.page import html
from var.evaluation.report.score_report import ScoreReport, values_of
from var.evaluation.report.text import markdown, text
from var.evaluation.scores import Evidence, Scores
from var.evaluation.table import TABLE, Score, titled
from var.quantities import fixed

# As scores were saved before there was a table.
SAVED = {
    "kind": "next-scale scores",
    "name": "old",
    "distance": "FD-digits",
    "sets": [{"path": "a", "samples": 100}],
    "scores": {"fd": [0.5], "kd": [0.01], "recall": [0.7], "closer_share": [0.5], "kd_subsets": [0.02]},
    "extractor": {"name": "digits", "digest": "0" * 64},
    "classifier": None,
    "reference": {"path": "real.npz", "digest": "1" * 64, "images": 100, "provenance": None},
    "floor": None,
    "protocol": None,
    "rejection": None,
    "warnings": [],
    "environment": {},
}


def brightness(features):
    return float(features.mean())


@pytest.fixture
def toy(monkeypatch):
    """A metric from outside: its mathematics, and one row."""
    row = Score(
        *("brightness", "Brightness of {distance}", "higher", fixed(3), "mean of all features"),
        find=lambda evidence: brightness(evidence.features),
        needs=("real_features",),
    )
    monkeypatch.setattr(table, "TABLE", (*TABLE, row))


def reported(scores, name):
    return ScoreReport(
        name=name,
        distance="FD-pixels",
        sets=[{"path": "x", "samples": scores.samples}],
        scores=values_of([scores.to_dict()]),
        extractor={"name": "pixels", "digest": "0" * 64},
        reference={"path": "real"},
    )


@pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")
def test_a_new_metric_is_one_function_and_one_row(toy, images, extractor, tmp_path):
    reference = Reference.from_images(images(50, 0), extractor)
    dark, light = (evaluate(images(40, 1, low=low), reference, extractor) for low in (0, 128))
    assert dark.brightness == brightness(extractor(images(40, 1)).features)
    assert dark.to_dict()["brightness"] == dark.values["brightness"] == dark.brightness < light.brightness
    alone = dataclasses.replace(reference, features=None)
    assert evaluate(images(40, 1), alone, extractor).brightness is None

    first, second = reported(dark, "model"), reported(light, "model")
    shown = f"{dark.brightness:.3f}"
    for whole in (text([first]), markdown([first]), html([first])):
        assert "Brightness of FD-pixels" in whole
        assert shown in whole
    assert "mean of all features" in html([first])
    for name, report in (("a", first), ("b", second)):
        report.to_json(tmp_path / f"{name}.json")
    line = next(
        line for line in diff_reports(tmp_path / "a.json", tmp_path / "b.json").splitlines() if "Bright" in line
    )
    assert f"{light.brightness:.3f}" in line
    assert f"{light.brightness - dark.brightness:+.3g}" in line


def test_a_new_metric_is_a_column_of_the_comparison(toy):
    from comparison.report.columns import score_columns

    keys = [column.key for column in score_columns("FD-digits")]
    assert "brightness" in keys
    assert len(keys) == len(set(keys))
    assert not {row.key for row in TABLE if row.thorough} & set(keys)


def test_rows_need_what_evidence_has_and_keys_are_told_apart():
    fields = {field.name for field in dataclasses.fields(Evidence)}
    assert {name for row in TABLE for name in row.needs} <= fields
    keys = [row.key for row in TABLE]
    assert len(set(keys)) == len(keys)
    assert all(row.meaning and row.title for row in TABLE)
    assert [row.title for row in titled("FID")][:6] == [
        "FID",
        "FID, n -> inf",
        "  its error",
        "  its slope",
        "FID, second",
        "sFID",
    ]


def test_what_several_rows_share_is_found_once(monkeypatch):
    calls = []

    def pair(evidence):
        calls.append(evidence)
        return 1.0, 2.0

    def nothing(evidence):
        calls.append(evidence)

    rows = [Score(f"s{part}", "x", None, fixed(1), "x", find=pair, part=part) for part in (0, 1)]
    rows += [Score(f"n{part}", "x", None, fixed(1), "x", find=nothing, part=part) for part in (0, 1)]
    rows.append(Score("slow", "x", None, fixed(1), "x", find=pair, part=0, thorough=True))
    rows.append(Score("elsewhere", "x", None, fixed(1), "x"))
    monkeypatch.setattr(table, "TABLE", tuple(rows))
    expected = {"s0": 1.0, "s1": 2.0, "n0": None, "n1": None, "slow": None}
    assert table.found_scores(object()) == expected
    assert len(calls) == 2
    assert table.found_scores(object(), thorough=True) == expected | {"slow": 1.0}


def test_scores_are_attributes_and_survive_a_copy():
    import copy
    import pickle

    scores = Scores(samples=3, values={"fd": 0.5, "kd": None})
    assert (scores.fd, scores.kd) == (0.5, None)
    for other in (copy.deepcopy(scores), pickle.loads(pickle.dumps(scores))):
        assert other == scores
    with pytest.raises(AttributeError, match="no score 'fdd'; did you mean 'fd'"):
        _ = scores.fdd


def test_scores_that_were_saved_before_still_load(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(SAVED))
    report = ScoreReport.from_json(tmp_path / "scores.json")
    assert report.to_dict() == SAVED
    assert "KD, subsets" in text([report])
    assert "FD-digits" in diff_reports(tmp_path / "scores.json", tmp_path / "scores.json")


def test_the_table_is_read_without_torch():
    import subprocess
    import sys

    code = "import sys, var.evaluation.report.diff; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
