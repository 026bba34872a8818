"""What each map costs: all true maps are the reconstructions, and no true map is what the run draws."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from var import VARPipeline
from var.cli import main
from var.data import digits
from var.doctor import given_scales
from var.evaluation import Classifier, Statistics, frechet_distance
from var.images import to_uint8

RUN = Path(__file__).parents[1] / "golden" / "before_the_house" / "runs" / "transformer"
IMAGES = 100


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(given_scales, "IMAGES", IMAGES)
    monkeypatch.setattr("var.doctor.examination.LOOKS", {})  # nothing else is looked at


def test_all_true_maps_are_the_reconstructions_and_none_is_what_the_run_draws(tmp_path, capsys):
    words = ["doctor", str(RUN), "--given-scales", "--quiet", "--device", "cpu", "--json", str(tmp_path / "found.json")]
    assert main(words) == 0
    out = capsys.readouterr().out
    told = json.loads((tmp_path / "found.json").read_text())["measured"]["given_scales"]
    rows, judge = told["rows"], Classifier.from_pretrained(RUN / "judge")

    def distance(images):
        return frechet_distance(*(Statistics.from_features(judge(to_uint8(x)).features) for x in (data.images, images)))

    data, pipe = digits("train"), VARPipeline.from_pretrained(RUN)
    places = given_scales.balanced(data.labels, IMAGES)
    images, labels = data.images[places], data.labels[places].tolist()
    assert (told["title"], told["images"], [row["true_maps"] for row in rows]) == ("FD-digits", IMAGES, [0, 1, 2, 3])
    how = {"guidance_scale": 1.1, "guidance_schedule": "constant", "output_type": "pt", "progress": False}
    assert rows[0]["distance"] == pytest.approx(distance(pipe(labels, seeds=range(IMAGES), **how).images * 2 - 1))
    with torch.inference_mode():
        assert rows[3]["distance"] == pytest.approx(distance(pipe.vqvae.reconstruct(images)))
    assert told["real"] == pytest.approx(distance(images))
    assert sum(row["costs"] for row in rows[:-1]) == pytest.approx(rows[0]["distance"] - rows[3]["distance"])
    table = [line.split() for line in out.split("costs\n")[1].splitlines()[:4]]
    assert [line[::2] for line in table] == [["0", "1x1"], ["1", "1x2"], ["2", "2x2"], ["3"]]
    assert float(table[1][1]) == pytest.approx(rows[1]["distance"], abs=6e-4)


def test_a_run_without_a_judge_gets_one_that_is_not_kept(tmp_path, monkeypatch, capsys):
    run = shutil.copytree(RUN, tmp_path / "run")
    shutil.rmtree(run / "judge")
    judge = Classifier.from_pretrained(RUN / "judge")
    asked = []
    monkeypatch.setattr(given_scales, "train_classifier", lambda data, **how: asked.append(how["steps"]) or judge)
    assert main(["doctor", str(run), "--given-scales", "--quiet", "--device", "cpu"]) == 0
    assert asked == [600]
    assert not (run / "judge").exists()
    shutil.rmtree(run / "vqvae")
    assert main(["doctor", str(run), "--given-scales", "--quiet", "--device", "cpu"]) == 2
    assert "vqvae/config.json is missing; restore it or train again" in capsys.readouterr().err
    (run / "finished.json").unlink()
    assert main(["doctor", str(run), "--given-scales", "--quiet", "--device", "cpu"]) == 2
    assert "finish the run first" in capsys.readouterr().err


def test_places_are_balanced_as_far_as_there_are_images():
    labels = torch.tensor([0] * 50 + [1] * 3 + [3] * 50)
    places = given_scales.balanced(labels, 30)
    assert labels[places].bincount().tolist() == [10, 3, 0, 10]
    assert len(places.unique()) == len(places)
