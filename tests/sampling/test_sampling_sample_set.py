"""Sample sets: which seeds, which classes, and the file that says so."""

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_squares import NAMES, contents, draw
from PIL import Image

from var.command_line.sampling_options import add_sample_set_arguments
from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.sampling.command import LoadedModel
from var.sampling.record import read_record
from var.sampling.sample_set import draw_sample_set, first_process
from var.sampling.seeds import SpreadSeeds

LABELS = [0] * 4 + [1] * 4 + [2] * 4


def pipeline(labels, *, seeds, progress, output_type, **options):
    assert options == {"guidance_scale": 2.5}
    assert not progress
    assert output_type == "pt"
    levels = np.stack([np.asarray(picture) for picture in draw(labels, seeds)]).astype(np.float32)
    return SimpleNamespace(images=torch.from_numpy(levels + 0.7).clamp(max=255)[:, None] / 255)


def draw_set(root, *argv, options=None, rounding="truncate", loaded=None, **wanted):
    parser = argparse.ArgumentParser()
    add_sample_set_arguments(parser)
    arguments = parser.parse_args(["--protocol", "squares", "--output", str(root), "--quiet", *argv])
    about = {"num_classes": 3, "image_shape": (1, 2, 2)}
    model = {"pipeline": pipeline, "class_names": NAMES, "record": {"model": "squares"}, **about, **(loaded or {})}
    options = options or {"guidance_scale": 2.5}
    draw_sample_set(
        arguments, LoadedModel(**model), labels=LABELS, options=options, rounding=rounding, **{**about, **wanted}
    )


def labels_by_seed(root):
    return {int(path.stem): read_record(path)["class_label"] for path in root.glob("*.png")}


def test_a_set_has_every_seed_with_its_class_and_says_what_it_is(tmp_path):
    draw_set(tmp_path)
    assert labels_by_seed(tmp_path) == dict(enumerate(LABELS))
    about = json.loads((tmp_path / "sample-set.json").read_text(encoding="utf-8"))
    assert about.pop("versions") == read_record(tmp_path / "0.png")["versions"]
    settings = {"model": "squares", "protocol": "squares", "rounding": "truncate", "guidance_scale": 2.5}
    assert about == {"protocol": "squares", "part_of": None, "seed": 0, "count": 12, "settings": settings}
    assert read_record(tmp_path / "0.png").items() >= settings.items()


def test_a_protocol_leaves_nothing_to_what_the_model_recommends(tmp_path):
    taken = set()

    def draws(labels, *, sampling, **call):
        taken.add(sampling)
        return pipeline(labels, guidance_scale=sampling.guidance_scale, **call)

    recommended = SamplingSettings(guidance_scale=8.0, top_k=50)
    draw_set(tmp_path, loaded={"pipeline": draws, "sampling": SamplingSettings, "recommended": recommended})
    assert taken == {SamplingSettings(guidance_scale=2.5)}


def test_sets_of_other_numbers_share_no_seed(tmp_path):
    draw_set(tmp_path, "--seed", "2")
    assert labels_by_seed(tmp_path) == {24 + index: label for index, label in enumerate(LABELS)}


def test_a_part_is_spread_over_the_classes_and_can_be_completed(tmp_path):
    draw_set(tmp_path / "set", "--count", "6")
    assert labels_by_seed(tmp_path / "set") == {0: 0, 2: 0, 4: 1, 6: 1, 8: 2, 10: 2}
    about = json.loads((tmp_path / "set" / "sample-set.json").read_text(encoding="utf-8"))
    assert (about["protocol"], about["part_of"], about["count"]) == (None, "squares", 6)
    draw_set(tmp_path / "set")
    draw_set(tmp_path / "whole")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_spread_seeds():
    for first, total, count in ((0, 12, 5), (100, 12, 12), (7, 2000, 333), (3, 5, 1)):
        seeds = SpreadSeeds(first, total, count)
        listed = [seeds[index] for index in range(count)]
        assert listed == sorted(set(listed))
        assert [seed for seed in range(first - 2, first + total + 2) if seed in seeds] == listed
        assert listed[0] == first
        assert listed[-1] < first + total


@pytest.mark.parametrize(
    ("argv", "wanted", "message"),
    [
        (["--count", "13"], {}, "12 images to draw from 1 to all of, got 13"),
        (["--seed", str(9 * 10**17)], {}, r"seeds must lie in \[0, 2\^63\)"),
        ([], {"num_classes": 10}, "models of 10 classes and 2x2x1 images, got one of 3 and 2x2x1; choose another"),
        ([], {"image_shape": (3, 8, 9)}, "models of 3 classes and 8x9x3 images, got one of 3 and 2x2x1"),
    ],
)
def test_impossible_sets_are_refused(tmp_path, argv, wanted, message):
    with pytest.raises(UserError, match=message):
        draw_set(tmp_path, *argv, **wanted)
    assert list(tmp_path.iterdir()) == []


def test_a_set_of_other_settings_keeps_its_manifest(tmp_path):
    draw_set(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"drawn with guidance_scale = 2\.5, and now 3\.0"):
        draw_set(tmp_path, options={"guidance_scale": 3.0})
    assert contents(tmp_path) == before


def test_the_rounding_is_in_the_pixels_and_in_the_records(tmp_path):
    draw_set(tmp_path / "down")
    draw_set(tmp_path / "near", rounding="nearest")
    for seed in range(12):
        with (
            Image.open(tmp_path / "down" / f"{seed}.png") as down,
            Image.open(tmp_path / "near" / f"{seed}.png") as near,
        ):
            np.testing.assert_array_equal(np.asarray(near), np.asarray(down) + 1)
            np.testing.assert_array_equal(np.asarray(down), np.asarray(draw([LABELS[seed]], [seed])[0]))
    with pytest.raises(UserError, match="drawn with rounding = 'truncate', and now 'nearest' is asked for"):
        draw_set(tmp_path / "down", rounding="nearest")


def test_one_process_is_the_first(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert first_process()
    monkeypatch.setenv("RANK", "1")
    assert not first_process()
