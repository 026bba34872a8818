"""The parts of the page without a browser: what is drawn, opened, painted and told."""

import json
import os
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image

from var.app.models import Models
from var.app.nearest import Known
from var.cli import main
from var.errors import UserError


@pytest.fixture(scope="module")
def model():
    from var.commands.model import load

    named = {"model": "next-scale/digits", "variant": None, "revision": None, "dtype": None, "device": "cpu"}
    return load(Namespace(**named, compile=False))


def saved(path, image, **options):
    image.save(path, **options)
    return str(path)


class TestTokens:
    def test_near_codes_have_near_colours_and_all_levels_are_used(self):
        from var.app.tokens import code_colours

        line = torch.arange(6.0)[:, None] * torch.tensor([[1.0, 2.0, 0.0, 0.0]])
        colours = code_colours(line).long()
        assert colours[:, 0].tolist() in ([25, 68, 111, 154, 197, 240], [240, 197, 154, 111, 68, 25])
        assert torch.equal(code_colours(line), code_colours(line.clone()))

    def test_narrow_codes_have_colours_too(self):
        from var.app.tokens import code_colours

        assert code_colours(torch.randn(5, 2)).shape == (5, 3)


class TestUploads:
    def test_pictures_are_cut_scaled_and_laid_on_white(self, tmp_path):
        from var.app.uploads import uploaded

        clear = Image.new("RGBA", (60, 20), (255, 0, 0, 0))
        images = uploaded(saved(tmp_path / "a.png", clear), (3, 8, 8))
        assert images.shape == (1, 3, 8, 8)
        assert bool((images == 1).all())
        frames = [Image.new("L", (9, 9), level) for level in (0, 255)]
        path = saved(tmp_path / "b.gif", frames[0], save_all=True, append_images=frames[1:])
        assert bool((uploaded(path, (1, 4, 4)) == -1).all())
        cmyk = saved(tmp_path / "c.jpg", Image.new("CMYK", (9, 9), (0, 0, 0, 255)))
        assert bool((uploaded(cmyk, (1, 4, 4)) < -0.9).all())

    def test_no_picture_is_told(self, tmp_path):
        from var.app.uploads import uploaded

        (tmp_path / "a.png").write_bytes(b"\x89PNG nothing")
        for path, told in ((None, "got none; upload one"), (str(tmp_path / "a.png"), "must be a whole png")):
            with pytest.raises(UserError, match=told):
                uploaded(path, (3, 8, 8))


class TestPainter:
    def test_a_mask_comes_back_as_it_was(self):
        from var.app.painter import SHAPES, canvas, painted_mask, shape_mask

        for name in SHAPES.keys() - {"nothing"}:
            mask = shape_mask(name, (4, 6))
            assert torch.equal(painted_mask(canvas(torch.zeros(1, 3, 4, 6), mask), (4, 6)), mask)
        assert shape_mask("left half", (4, 6)).sum() == 12

    @pytest.mark.parametrize("value", [None, "", "{}", '{"mask": 3}', '{"mask": "012"}', "[", '{"mask": "0000"}'])
    def test_what_is_no_mask_is_told(self, value):
        from var.app.painter import painted_mask

        with pytest.raises(UserError, match="mask"):
            painted_mask(value, (2, 2))


class TestFront:
    def test_a_mark_tells_its_numbers(self, tmp_path):
        from var.app.front import front_plot, settings_in

        row = {"model": "var", "sampler": "s", "steps": 4, "guidance_scale": 1, "fd": 0.5, "seconds_per_1000_images": 2}
        (tmp_path / "report.json").write_text(json.dumps({"results": [row, {**row, "fd": 3, "model": "<x>"}]}))
        plot = front_plot(settings_in(tmp_path / "report.json"), {"VAR": 7.5})
        assert plot.count('class="mark') == 2
        assert "distance 0.500, 2.00 s per 1000 images" in plot
        assert "VAR, now" in plot
        assert "<x>" not in plot

    @pytest.mark.parametrize("text", ["{}", '{"results": []}', '{"results": [{"fd": 1}]}', '{"results": [3]}'])
    def test_other_files_are_told(self, tmp_path, text):
        from var.app.front import settings_in

        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UserError, match="json of a comparison, got another file"):
            settings_in(tmp_path / "a.json")


def test_a_copy_is_nearer_than_all_unseen_images():
    train = torch.rand(6, 1, 4, 4) * 2 - 1
    seen = Known(train, torch.tensor([0.1, 0.2, 0.3]))
    near, distances = seen.nearest(train[2:3].clone())
    assert torch.equal(near, train[2:3])
    assert seen.nearer_share(float(distances[0])) == 0
    assert seen.nearer_share(0.25) == pytest.approx(2 / 3)


def test_pictures_say_what_repeats_them_and_stages_end_in_the_image(model, tmp_path, monkeypatch):
    from var.app.drawing import Asked, draw, stage_images
    from var.sampling.record import KEY

    asked, said = Asked.of(model, "random", None, 5, 2), []

    def progress(share, desc):
        said.append((share, desc))

    made = draw(Models(var=model), model, asked, {"guidance_scale": 2.0}, progress, title="scales", steps=6)
    assert said[0] == (0, "scales")
    assert said[-1] == (1, "scales")
    record = json.loads(made.pictures[1].info[KEY])
    assert (record["seed"], record["class_label"], record["guidance_scale"]) == (6, asked.labels[1], 2.0)
    assert torch.allclose(stage_images(model, made.stages, 1)[-1], made.images[1], atol=1e-5)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    path, name = made.gallery(model)[0]
    assert name == f"{asked.labels[0]}, seed 5"
    assert list(Path(path).parent.iterdir()) == [Path(path)]
    with open(path, "rb") as sent:  # to a browser, when the picture is shown once more
        assert made.gallery(model)[0][0] == path
        assert not os.path.samestat(os.fstat(sent.fileno()), os.stat(path))
        assert json.loads(Image.open(sent).info[KEY])["seed"] == 5
    closing = Models(var=model)
    closing.closing.set()
    with pytest.raises(UserError, match="the server must run"):
        draw(closing, model, asked, {}, progress, title="scales", steps=6)


def test_controls_begin_at_what_the_model_recommends(model):
    from dataclasses import replace

    from var.app.controls import guidance, moved, usual

    assert (usual(model, "guidance_scale"), guidance(model).value) == (1.0, 1.0)
    listed = replace(model, recommended=replace(model.recommended, temperature=(1.0, 0.5), guidance_scale=12.0))
    assert (usual(listed, "temperature"), guidance(listed).maximum) == (0.5, 12.0)
    assert moved(listed, {"temperature": 0.5, "guidance_scale": 11.0}) == {"guidance_scale": 11.0}
    plain = replace(model, recommended=None)
    assert (usual(plain, "temperature"), usual(None, "sampler", "ddim"), guidance(plain).value) == (1.0, "ddim", 3.0)


def test_a_prompt_leaves_room_for_seeds(model):
    from var.app.drawing import Asked

    assert Asked(labels=None, prompt="a long text", seeds=[5, 6]).names(model) == ["seed 5", "seed 6"]


def test_a_page_draws_one_thing_at_a_time_and_goes_on_after_mistakes():
    from inspect import signature

    from var.app.turns import Turn, in_turn

    def halve(number: int, progress=None):
        return 6 // number

    turn, work = Turn(), in_turn(halve)
    assert list(signature(work).parameters) == ["turn", "number", "progress"]
    turn.begin()
    with pytest.raises(UserError, match="this page is still busy; click again"):
        turn.begin()
    assert work(turn, 2, None) == 3
    turn.begin()
    with pytest.raises(ZeroDivisionError):
        work(turn, 0, None)
    assert not turn.busy


@pytest.mark.parametrize("seed", [None, 1.5, -1, 1e30])
def test_seeds_are_checked(model, seed):
    from var.app.drawing import Asked

    with pytest.raises(UserError, match="seed"):
        Asked.of(model, "3", None, seed, 2)


def test_models_of_other_images_are_refused(model):
    from dataclasses import replace

    with pytest.raises(UserError, match="must draw images of one shape"):
        Models(var=model, diffusion=replace(model, image_shape=(3, 8, 8)))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "0"], "expected a whole number from 1 to 65535, got '0'"),
        (["--port", "99999"], "expected a whole number from 1 to 65535, got '99999'"),
        (["--report", "nowhere.json"], "nowhere.json must be a JSON file"),
        (["--dtype", "fp9"], "unknown value 'fp9'"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, told):
    assert main(["app", *arguments]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_missing_gradio_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr("var.commands.app.find_spec", lambda name: None)
    assert main(["app"]) == 2
    assert 'pip install "next-scale[app]"' in capsys.readouterr().err


def test_a_package_that_is_not_there_is_told(monkeypatch):
    from var.commands.app import _loader

    monkeypatch.setattr("var.commands.app.entry_points", lambda **_: [])
    with pytest.raises(UserError, match="install next-scale again"):
        _loader("diffusion")
