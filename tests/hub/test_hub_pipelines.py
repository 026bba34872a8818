import json
import os
from pathlib import Path

import pytest
import torch
from tiny_models import Pair, Tiny, assert_same_weights, one_line

from var.terms import Terms


def test_a_pipeline_comes_back_with_parts_and_settings(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "pipeline_index.json", "second"]
    back = Pair.from_pretrained(tmp_path, dtype=torch.float64)
    assert back.steps == 9
    assert_same_weights(back.second, pipeline.second.double())
    assert_same_weights(back.first, pipeline.first.double())
    assert_same_weights(Tiny.from_pretrained(tmp_path, subfolder="first"), pipeline.first.float())


def test_its_digest_is_of_all_weights_and_of_nothing_else(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    back, before = Pair.from_pretrained(tmp_path), pipeline.digest()
    assert back.digest() == before
    back.steps += 1
    assert back.digest() == before
    for part in back.models().values():
        with torch.no_grad():
            next(part.parameters()).flatten()[-1] += 1
        assert back.digest() != before
        before = back.digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "Triple"}, ".*pipeline_index.json must be of class 'Pair', got 'Triple'"),
        ({"parts": {"first": "Tiny"}}, ".*pipeline_index.json: Pair has the parts .*, got .'first': 'Tiny'.; load"),
        ({"settings": {"stpes": 3}}, ".*pipeline_index.json: Pair has no setting 'stpes'; did you mean 'steps'"),
        ({"settings": {"first": 3}}, ".*pipeline_index.json: Pair has no setting 'first'"),
        ({"settings": None}, ".*pipeline_index.json: 'settings' must be a JSON object, got None"),
        ({"extra": 1}, ".*pipeline_index.json: unknown key 'extra'"),
        ({"terms": {"license": "MIT"}}, ".*pipeline_index.json: unknown key 'license'; did you mean 'licence'"),
        ({"terms": {"licence": 3}}, ".*pipeline_index.json: its terms: 'licence' must be a text or null, got 3; save"),
        ({"terms": "MIT"}, ".*pipeline_index.json: 'terms' must be an object, got 'MIT'; save it again"),
    ],
)
def test_a_wrong_index_is_refused(pipeline, tmp_path, change, message):
    pipeline.save_pretrained(tmp_path)
    path = tmp_path / "pipeline_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with one_line(message):
        Pair.from_pretrained(tmp_path)


def test_the_terms_of_its_data_go_with_it(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "plain")
    assert json.loads((tmp_path / "plain" / "pipeline_index.json").read_text()).keys() == {"class", "parts", "settings"}
    pipeline.terms = Terms("CC BY-SA 4.0", "By us")
    pipeline.save_pretrained(tmp_path / "known")
    pipeline.save_single_file(tmp_path / "known.safetensors")
    loaded = Pair.from_pretrained(tmp_path / "known"), Pair.from_single_file(tmp_path / "known.safetensors")
    assert [each.terms for each in loaded] == [pipeline.terms] * 2
    assert Pair.from_pretrained(tmp_path / "plain").terms == Terms()
    assert Terms.joined((Terms("MIT"), pipeline.terms, Terms("MIT"))) == Terms("MIT; CC BY-SA 4.0", "By us")


def test_an_interrupted_pipeline_is_not_taken_for_finished(pipeline, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path)
    real = os.replace

    def killed(source, target):
        if Path(target) == tmp_path / "first" / "model.safetensors":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline.save_pretrained(tmp_path)
    with one_line(".*pipeline_index.json must be a JSON file, but it is missing"):
        Pair.from_pretrained(tmp_path)
