"""What an image was asked to show is told by its file, never by its place (issue 11)."""

import json

import pytest
import torch
from levelled_sets import NAMES, LevelJudge, draw, draw_classes, draw_flat

from var.errors import UserError
from var.evaluation import Classifier, ClassifierConfig
from var.evaluation.judging import judge
from var.evaluation.sets.class_labels import class_labels
from var.evaluation.sets.samples import open_samples, save_npz

pytestmark = pytest.mark.filterwarnings("ignore::var.evaluation.RankDeficientWarning")


def judged(samples, reference, teller=None, **options):
    report = judge([samples], reference, teller or LevelJudge(), progress=False, **options)
    consistency = report.scores.get("class_consistency")
    return (None if consistency is None else consistency[0]), " ".join(report.warnings)


@pytest.mark.parametrize("folders", [{"3": 3, "7": 7}, {"3-dog": 3, "7-hen": 7}, {"b": 3, "a": 7}])
def test_recorded_labels_count_whatever_the_folders_are_called(tmp_path, reference, folders):
    (tmp_path / "both" / "0-empty").mkdir(parents=True)
    found, said = judged(draw_classes(tmp_path / "both", folders), reference)
    assert found == 1
    assert "1 folder without images (0-empty)" in said


def test_rejection_keeps_by_the_same_labels(tmp_path, reference):
    draw_classes(tmp_path / "both", {"3": 3, "7": 7})
    report = judge([tmp_path / "both"], reference, LevelJudge(), keep_share=0.5, progress=False)
    assert report.rejection["scores"]["class_consistency"] == [1]
    draw_classes(tmp_path / "strange", {"x": 3, "y": 7}, recorded=False)
    with pytest.raises(UserError, match=r"needs labels of the samples.*'x' has no name of the judge's classes"):
        judge([tmp_path / "strange"], reference, LevelJudge(), keep_share=0.5, progress=False)


@pytest.mark.parametrize(
    ("folders", "names", "expected"),
    [
        ({"3": 3, "7": 7}, None, 1.0),  # "LABEL" of a model without names
        ({"3-dog": 3, "7-hen": 7}, None, 1.0),
        ({"3-dog": 3, "7-hen": 7}, NAMES, 1.0),
        ({"dog": 3, "hen": 7}, NAMES, 1.0),
        ({"felis_catus": 2, "Dog": 3}, NAMES, 1.0),
        ({"0-dog": 3, "1-hen": 7}, NAMES, 1.0),  # a model that numbers its classes otherwise
        ({"dog": 3, "hen": 7}, None, None),
        ({"03": 3, "07": 7}, None, None),  # somebody else's numbers, which may begin at 1
        ({"3-dog": 3, "9-unknown": 7}, NAMES, None),
        ({"3-dog": 3, "10": 7}, None, None),
        ({"3-Dog Photos": 3, "7": 7}, None, None),
    ],
)
def test_folders_without_records_are_matched_by_name_or_not_at_all(tmp_path, reference, folders, names, expected):
    draw_classes(tmp_path / "set", folders, recorded=False)
    found, said = judged(tmp_path / "set", reference, LevelJudge(class_names=names))
    assert found == expected
    assert ("Class consistency: not measured in" in said) == (expected is None)


def test_the_order_of_names_does_not_matter(tmp_path, reference):
    """A judge that does not number its classes alphabetically."""
    names = ("zebra", "yak", "worm", "ant", "cow", "10", "2")
    draw_classes(tmp_path / "set", {name: names.index(name) for name in ("ant", "10", "zebra")}, recorded=False)
    assert judged(tmp_path / "set", reference, LevelJudge(7, names))[0] == 1
    one = open_samples(tmp_path / "set")
    twice = ("ant", "10", "ant", "zebra")
    assert class_labels(one, 4, twice)[0] is None  # no folder's name may mean two classes
    draw_classes(tmp_path / "own", {"2-ant": 2}, recorded=False)
    assert class_labels(open_samples(tmp_path / "own"), 4, twice)[0].unique().tolist() == [2]


def test_the_name_that_a_model_records_tells_more_than_its_number(tmp_path, reference):
    draw_classes(tmp_path / "other", {"x": 7}, name="dog")
    labels, _ = class_labels(open_samples(tmp_path / "other"), 10, NAMES)
    assert labels.unique().tolist() == [3]
    labels, said = class_labels(open_samples(tmp_path / "other"), 10, ("rose",) * 10)
    assert labels is None
    assert "the class 'dog' of 0.png is none of the judge's" in said
    assert class_labels(open_samples(tmp_path / "other"), 10, None)[0].unique().tolist() == [7]


def test_records_of_some_images_only(tmp_path, reference):
    draw_flat(tmp_path / "flat")
    draw(tmp_path / "flat" / "50.png", 1, 50, recorded=False)
    found, said = judged(tmp_path / "flat", reference)
    assert found is None
    assert "50.png does not record its class, as others do" in said
    draw_classes(tmp_path / "both", {"3-dog": 3, "7-hen": 7})
    draw(tmp_path / "both" / "3-dog" / "50.png", 3, 50, recorded=False)
    draw(tmp_path / "both" / "7-hen" / "51.jpg", 7, 51, recorded=False, format="JPEG")
    assert judged(tmp_path / "both", reference)[0] == 1


def test_images_that_say_nothing_need_no_caution(tmp_path, reference):
    assert "Class consistency" not in judged(draw_flat(tmp_path / "flat", recorded=False), reference)[1]


def test_labels_of_an_npz_are_its_own(tmp_path, reference):
    draw_classes(tmp_path / "both", {"3": 3, "7": 7})
    save_npz(tmp_path / "both", tmp_path / "both.npz")
    assert judged(tmp_path / "both.npz", reference)[0] == 1


def test_images_of_two_models_are_no_set(tmp_path):
    draw_flat(tmp_path / "set", range(4))
    draw(tmp_path / "set" / "9.png", 0, 9, settings={"fingerprint": "g"})
    with pytest.raises(UserError, match=r"must be drawn alike, got another 'fingerprint' in .*9\.png than in .*0\.png"):
        open_samples(tmp_path / "set")
    draw(tmp_path / "set" / "9.png", 0, 9, settings={"model": "elsewhere"})  # the same one at another place
    assert open_samples(tmp_path / "set").count == 5
    (tmp_path / "set" / "sample-set.json").write_text(json.dumps({"count": 5, "settings": {"fingerprint": "h"}}))
    with pytest.raises(UserError, match=r"sample-set\.json must be of the images beside it, got another 'fingerprint'"):
        open_samples(tmp_path / "set")


def test_a_classifier_keeps_the_names_of_its_classes(tmp_path):
    classifier = Classifier(ClassifierConfig(widths=(4,), strides=(1,), num_classes=3))
    classifier.class_names = ("ant", "bee", "é")
    classifier.save_pretrained(tmp_path / "judge")
    again = Classifier.from_pretrained(tmp_path / "judge")
    assert again.class_names == ("ant", "bee", "é")
    assert again.digest == classifier.digest
    (tmp_path / "judge" / "class_names.json").write_text('["ant"]')
    with pytest.raises(UserError, match=r"class_names\.json must name the 3 classes of the network, got 1"):
        Classifier.from_pretrained(tmp_path / "judge")
    classifier.class_names = None
    classifier.save_pretrained(tmp_path / "judge")
    assert Classifier.from_pretrained(tmp_path / "judge").class_names is None


def test_networks_of_imagenet_know_its_folders():
    from var.evaluation.features.timm_classifier import _imagenet_names

    network = torch.nn.Linear(1, 1)
    network.num_classes, network.pretrained_cfg = 1000, {"num_classes": 1000}
    names = _imagenet_names(network)
    assert names[0] == "n01440764, tench, Tinca tinca"
    assert len(names) == 1000
