import json
from dataclasses import replace
from statistics import stdev

import numpy as np
import pytest
import torch
from PIL import Image

from var.data import ArrayData, write_folder
from var.errors import UserError
from var.evaluation import Reference, evaluate, frechet_distance
from var.evaluation.judging import floor, judge
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.report.cautions import cautions
from var.evaluation.report.diff import diff_reports
from var.evaluation.report.page import html
from var.evaluation.report.saving import save
from var.evaluation.report.score_report import ScoreReport, read_reports
from var.evaluation.report.text import markdown, text
from var.evaluation.sets.protocols import PROTOCOLS, SamplingProtocol
from var.evaluation.sets.reference_statistics import build_statistics
from var.images import from_uint8, save_png
from var.sampling.record import KEY, record_text
from var.terms import Terms

pytestmark = pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")

TINY = SamplingProtocol(
    name="tiny",
    paradigm="var",
    sampling={"guidance_scale": 2.0},
    image_size=2,
    channels=3,
    num_classes=3,
    per_class=20,
    reference="x",
    extractor="pixels",
    source="these tests",
)


@pytest.fixture
def files(tmp_path, images, extractor, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, ("tiny", "var"), TINY)
    return write_files(tmp_path, images, extractor)


def write_files(tmp_path, images, extractor):
    """Three sets of one model as `sample-set` leaves them, a reference, training and test images."""

    def write(name, batch):
        (tmp_path / name).mkdir()
        for index, image in enumerate(batch.permute(0, 2, 3, 1).numpy()):
            Image.fromarray(image).save(tmp_path / name / f"{index}.png")
        return tmp_path / name

    build_statistics(write("real", images(150, 0)), extractor, progress=False).save(tmp_path / "real.npz")
    write("train", images(50, 0))
    write("test", images(30, 9))
    labels = np.array(TINY.labels())
    for seed in range(3):
        batch = images(60, 10 + seed, low=30).permute(0, 2, 3, 1).numpy()
        np.savez(tmp_path / f"set{seed}.npz", arr_0=batch, arr_1=labels)
    return tmp_path


@pytest.fixture(scope="module")
def report(tmp_path_factory, images, extractor):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, ("tiny", "var"), TINY)
        return judged(write_files(tmp_path_factory.mktemp("report"), images, extractor), extractor)


def judged(files, extractor):
    return judge(
        [files / f"set{seed}.npz" for seed in range(3)],
        files / "real.npz",
        extractor,
        name="tiny model",
        protocol="tiny",
        train=files / "train",
        test=files / "test",
        keep_share=0.5,
        progress=False,
    )


def test_every_number_is_that_of_evaluate(report, images, extractor):
    reference = Reference.from_images(images(150, 0), extractor, train_images=images(50, 0), test_images=images(30, 9))
    expected = [
        evaluate(images(60, 10 + seed, low=30), reference, extractor, labels=TINY.labels(), thorough=True)
        for seed in range(3)
    ]
    for key, values in report.scores.items():
        assert values == pytest.approx([getattr(one, key) for one in expected], rel=1e-6), key
    spread = report.spread("fd")
    assert spread.mean == pytest.approx(np.mean([one.fd for one in expected]))
    assert spread.deviation == pytest.approx(stdev(one.fd for one in expected))
    assert spread.minimum == pytest.approx(min(one.fd for one in expected))
    assert report.distance == "FD-pixels"
    assert report.protocol["sampling"] == {"guidance_scale": 2.0}
    assert report.protocol["rounding"] == "nearest"
    trust = "Protocol: taken on trust, since the drawing of set0.npz, set1.npz, set2.npz is not recorded."
    assert trust in report.warnings
    assert "guidance_scale 2.0, rounding nearest; 20 images per class" in " ".join(text([report]).split())
    assert [one["samples"] for one in report.sets] == [60, 60, 60]
    assert "sfd" not in report.scores


def test_rejection_stands_apart(report):
    assert report.rejection["share"] == 0.5
    assert report.rejection["samples"] == [30, 30, 30]
    assert report.rejection["scores"]["class_consistency"][0] >= report.scores["class_consistency"][0]
    assert "Rejection sampling, reported apart: the surest 50% of each class, 30 images" in " ".join(
        text([report]).split()
    )


def test_the_floor_is_the_distance_of_real_halves(images, extractor):
    reference = Reference.from_images(images(100, 0), extractor)
    found = floor(reference, 40)
    assert found["samples"] == 40
    # Of a reference as small as the samples it would be the distance of the halves itself.
    assert found["at_samples"] == pytest.approx(found["fd"] * 20 * (1 / 40 + 1 / 100))
    order = {tuple(row) for row in reference.features.tolist()}
    assert len(order) == 100
    few = floor(reference, 200)
    assert few["samples"] == 50
    assert few["at_samples"] == pytest.approx(few["fd"] * 25 * (1 / 200 + 1 / 100))
    assert few == floor(reference, 200) != floor(reference, 200, seed=1)
    assert floor(replace(reference, features=None), 40) is None
    # Halves of one distribution: of its size, and far below a shifted one's.
    shifted = Statistics.from_features(extractor(images(50, 3, low=100)).features)
    assert few["fd"] < frechet_distance(reference.statistics, shifted) / 3


def test_cautions_name_what_is_wrong():
    ample = Statistics(10**6, np.zeros(4), np.eye(4))
    balanced = torch.arange(20_000) % 10
    assert cautions([(20_000, balanced)] * 3, ample) == []

    def found(sets, reference=ample):
        return " ".join(one.split(":")[0] for one in cautions(sets, reference))

    assert found([(4, None)] * 3) == "n <= d n < 10000"
    assert found([(20_000, None), (20_001, None), (20_000, None)]) == "Unequal n"
    assert found([(20_000, None)] * 3, Statistics(500, np.zeros(4), np.eye(4))) == "Unequal n"
    assert found([(20_000, balanced.sort().values)] * 3) == "Order"
    assert found([(20_000, balanced.clamp(max=8))] * 3) == "Class imbalance"
    assert found([(20_000, balanced)]) == "Spread"


class TestForms:
    def test_text_fits_and_markdown_says_the_same(self, report):
        plain, marked = text([report]), markdown([report])
        assert max(map(len, plain.splitlines())) <= 100
        for part in ("FD-pixels (lower)", "FD-pixels, n -> inf", "Coverage", "generation seeds", "Caution. n < 10000"):
            assert part in plain
            assert part in marked
        assert "| FD-pixels (lower) |" in marked

    def test_a_folder_of_all_forms(self, report, tmp_path):
        save(report, tmp_path / "out")
        assert ScoreReport.from_json(tmp_path / "out" / "scores.json") == report
        page = (tmp_path / "out" / "scores.html").read_text()
        assert "<svg" not in page  # pictures are data
        assert "tiny model" in page
        assert "data:image/svg+xml" in page
        assert "http" not in page.replace("http://www.w3.org", "")
        assert (tmp_path / "out" / "scores.md").read_text() == markdown([report])

    def test_a_diff_knows_what_moved_and_what_was_not_the_same(self, report, tmp_path):
        worse = replace(
            report,
            scores=report.scores | {"fd": [value + 1 for value in report.scores["fd"]]},
            extractor=report.extractor | {"digest": "1" * 64},
        )
        report.to_json(tmp_path / "a.json")
        worse.to_json(tmp_path / "b.json")
        found = diff_reports(tmp_path / "a.json", tmp_path / "b.json")
        line = next(line for line in found.splitlines() if line.startswith("FD-pixels  "))
        assert line.split()[-2:] == ["+1", "A"]
        assert f"Not the same: extractor.digest is {'0' * 37}... and {'1' * 37}..." in " ".join(found.split())
        assert "Recall" in found
        marked = diff_reports(tmp_path / "a.json", tmp_path / "b.json", style="markdown")
        assert "| FD-pixels |" in marked
        assert "Not the same" not in diff_reports(tmp_path / "a.json", tmp_path / "a.json")

    def test_scores_within_a_comparison_are_found_by_model(self, report, tmp_path):
        (tmp_path / "report.json").write_text(json.dumps({"results": [], "scores": {"var": report.to_dict()}}))
        assert read_reports(tmp_path / "report.json") == {"var": report}
        for content, match in (("{}", "must hold scores"), ("[", "must be readable JSON")):
            (tmp_path / "x.json").write_text(content)
            with pytest.raises(UserError, match=match):
                read_reports(tmp_path / "x.json")
        with pytest.raises(UserError, match="must be a JSON file, but it is missing"):
            read_reports(tmp_path / "nothing.json")

    def test_a_report_that_is_not_whole_is_refused(self, report):
        content = report.to_dict()
        for change, match in (
            ({"scores": content["scores"] | {"fd": [1.0]}}, "fd needs a value for each of 3 sets, got 1"),
            ({"scores": content["scores"] | {"fd": [1.0, 2.0, float("nan")]}}, "fd must be finite"),
            ({"scorse": {}}, "unknown entry 'scorse'; did you mean 'scores'"),
        ):
            with pytest.raises(UserError, match=match):
                ScoreReport.from_dict(content | change)
        with pytest.raises(UserError, match="must be a whole report"):
            ScoreReport.from_dict({"name": "x"})


class TestMismatches:
    def test_a_protocol_that_is_not_followed(self, files, extractor, images, monkeypatch):
        sets, reference = [files / "set0.npz"], files / "real.npz"
        monkeypatch.setitem(PROTOCOLS, ("other", "var"), replace(TINY, name="other", per_class=19))
        with pytest.raises(UserError, match=r"set0\.npz must follow protocol 'other' in count, 57, got 60"):
            judge(sets, reference, extractor, protocol="other", progress=False)
        for index, image in enumerate(images(60, 1).permute(0, 2, 3, 1).numpy()):
            Image.fromarray(image).save(files / "test" / f"{index}.png")
        manifest = {"protocol": "tiny", "count": 60, "seed": 0, "settings": {"guidance_scale": 1.5}}
        (files / "test" / "sample-set.json").write_text(json.dumps(manifest))
        with pytest.raises(UserError, match=r"protocol 'tiny' in guidance_scale, 2\.0, got 1\.5"):
            judge([files / "test"], reference, extractor, protocol="tiny", progress=False)
        rounded = manifest | {"settings": {"guidance_scale": 2.0, "rounding": "truncate"}}
        (files / "test" / "sample-set.json").write_text(json.dumps(rounded))
        with pytest.raises(UserError, match="protocol 'tiny' in rounding, nearest, got truncate"):
            judge([files / "test"], reference, extractor, protocol="tiny", progress=False)
        (files / "test" / "sample-set.json").write_text(json.dumps(manifest))
        # Nobody asked for it: it is said, not refused.
        found = judge([files / "test"], reference, extractor, progress=False)
        assert found.protocol is None
        assert "Protocol: not tiny, since guidance_scale is 1.5 in place of 2.0." in found.warnings

    def test_sets_that_are_not_of_one_model(self, files, extractor, images):
        reference = files / "real.npz"
        with pytest.raises(UserError, match="the same path twice"):
            judge([files / "set0.npz"] * 2, reference, extractor, progress=False)
        np.savez(files / "large.npz", arr_0=np.zeros((9, 4, 4, 3), np.uint8))
        with pytest.raises(UserError, match=r"images of one shape .* \(3, 2, 2\) in .* and \(3, 4, 4\)"):
            judge([files / "set0.npz", files / "large.npz"], reference, extractor, progress=False)
        with pytest.raises(UserError, match=r"must agree in height .* got 2 \(the ref.*\) and 4 \(.*large\.npz\)"):
            judge([files / "large.npz"], reference, extractor, progress=False)
        (files / "train" / "sample-set.json").write_text(json.dumps({"settings": {"top_k": 5}}))
        with pytest.raises(UserError, match="got another 'top_k' in"):
            judge([files / "test", files / "train"], reference, extractor, progress=False)
        with pytest.raises(UserError, match="at least one set"):
            judge([], reference, extractor, progress=False)

    def test_sets_that_are_no_distribution(self, files, extractor):
        np.savez(files / "one.npz", arr_0=np.zeros((1, 2, 2, 3), np.uint8))
        with pytest.raises(UserError, match=r"one\.npz must hold at least 2 images, got 1"):
            judge([files / "set0.npz", files / "one.npz"], files / "real.npz", extractor, progress=False)

    def test_a_reference_of_another_length(self, files, extractor):
        Statistics(9, np.zeros(5), np.eye(5)).save(files / "five.npz")
        with pytest.raises(UserError, match="the reference has 5 features, and pixels gives 12; use the extractor"):
            judge([files / "set0.npz"], files / "five.npz", extractor, progress=False)

    def test_rejection_needs_a_share_before_the_work(self, files, extractor):
        with pytest.raises(UserError, match=r"above 0 and at most 1, got 1\.5"):
            judge([files / "test"], files / "nothing.npz", extractor, keep_share=1.5, progress=False)

    def test_rejection_needs_labels(self, files, extractor):
        with pytest.raises(UserError, match="rejection sampling needs labels"):
            judge([files / "test"], files / "real.npz", extractor, keep_share=0.5, progress=False)

    @pytest.mark.parametrize("kind", ["featureless", "own_order"])
    def test_rejection_needs_somebody_who_tells_the_classes(self, files, kind, request):
        with pytest.raises(UserError, match="needs a classifier of the samples' classes, got 'pixels' alone"):
            judge(
                [files / "set0.npz"],
                files / "nothing.npz",
                request.getfixturevalue(kind),
                keep_share=0.5,
                progress=False,
            )

    def test_labels_that_the_judge_does_not_have_before_the_work(self, files, extractor, featureless):
        with np.load(files / "set1.npz") as archive:
            np.savez(files / "far.npz", arr_0=archive["arr_0"], arr_1=archive["arr_1"] + 1)
        sets = [files / "set0.npz", files / "far.npz"]
        with pytest.raises(
            UserError, match=r"labels must be from 0 to 2, the classes of 'pixels', got 1 to 3 in .*far\.npz"
        ):
            judge(sets, files / "nothing.npz", extractor, progress=False)
        with pytest.raises(UserError, match="a classifier must give a logit for every label, got 'pixels' without"):
            judge(sets, files / "nothing.npz", extractor, classifier=featureless, progress=False)


class TestWhoTellsTheClasses:
    @pytest.mark.parametrize("kind", ["featureless", "own_order"])
    def test_without_one_the_report_says_so(self, files, kind, request):
        found = judge([files / "set0.npz"], files / "real.npz", request.getfixturevalue(kind), progress=False)
        assert "class_consistency" not in found.scores
        assert "not measured, since pixels does not tell these classes" in " ".join(found.warnings)
        assert ("inception_score" in found.scores) == (kind == "own_order")

    def test_a_classifier_beside_the_extractor_tells_them(self, files, report, extractor, own_order):
        found = judge(
            [files / "set0.npz"],
            files / "real.npz",
            own_order,
            classifier=extractor,
            keep_share=0.5,
            progress=False,
        )
        assert found.scores["class_consistency"] == report.scores["class_consistency"][:1]
        assert found.rejection["scores"]["fd"] == pytest.approx(report.rejection["scores"]["fd"][:1])
        assert found.classifier == {"name": "pixels", "digest": "0" * 64}
        assert "(classes by pixels 000000000000)" in " ".join(text([found]).split())
        assert not [warning for warning in found.warnings if "Class consistency" in warning]
        assert ScoreReport.from_dict(found.to_dict()) == found

    def test_images_without_labels_need_none(self, files, own_order):
        found = judge([files / "test"], files / "real.npz", own_order, progress=False)
        assert not [warning for warning in found.warnings if "Class consistency" in warning]


def test_the_terms_of_the_images_stand_in_every_form(tmp_path, images, extractor):
    """From the data that say them, through a written folder and the statistics of it, into the report."""

    def written(name, seed, **terms):
        data = ArrayData(from_uint8(images(40, seed)), [0] * 40, ["red"], **terms)
        return write_folder(data, tmp_path / name, progress=False)

    terms = {"licence": "CC BY-SA 4.0", "attribution": "Drawn by <us> (https://us.org)"}
    real = build_statistics(written("real", 0, **terms), extractor, progress=False)
    real.save(tmp_path / "real.npz")
    report = judge([written("others", 1)], tmp_path / "real.npz", extractor, progress=False)
    said = "Terms of the reference: CC BY-SA 4.0. Drawn by <us> (https://us.org)"
    assert report.terms == [said]
    assert said in text([report]).splitlines()
    assert "Drawn by &lt;us&gt; (https://us.org)" in markdown([report])
    assert "Drawn by &lt;us&gt; (https://us.org)" in html([report])
    report.to_json(tmp_path / "scores.json")
    assert ScoreReport.from_json(tmp_path / "scores.json") == report
    older = {key: value for key, value in report.to_dict().items() if key != "terms"}
    assert ScoreReport.from_dict(older).terms == []

    replace(real, terms=Terms()).save(tmp_path / "plain.npz")
    assert "terms" not in np.load(tmp_path / "plain.npz"), "statistics of unknown terms are as they were"
    same, drawn = written("same", 2, **terms), written("drawn", 3)
    for path in drawn.glob("red/*.png"):
        save_png(Image.open(path).copy(), path, {KEY: record_text({"seed": int(path.stem), "terms": terms})})
    again = judge([same, drawn], tmp_path / "plain.npz", extractor, progress=False)
    assert again.terms == [
        f"Terms of the samples in {same}: CC BY-SA 4.0. Drawn by <us> (https://us.org)",
        f"Terms of what the model of {drawn} was trained on: CC BY-SA 4.0. Drawn by <us> (https://us.org)",
    ]
