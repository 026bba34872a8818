"""Models for the wheel, made anew: trained by the ordinary jobs, stored in bfloat16, measured as they are stored."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import assert_same_weights

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.presets import diffusion_run
from var import VARPipeline
from var.data import open_data
from var.hub.packaged import packaged_models
from var.recipes.decoder.presets import PRESETS as DECODERS
from var.recipes.decoder.presets import decoder_run
from var.recipes.transformer.presets import transformer_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_models.py"
spec = importlib.util.spec_from_file_location("build_models", SCRIPT)
assert spec is not None
assert spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

SETTINGS = (
    *("training.steps=2", "training.batch_size=4", "training.ema_decay=0.5"),
    *("evaluation.every=2", "evaluation.samples=4", "evaluation.grid=4", "evaluation.judge_steps=2"),
)
OPTIONS = ["--quiet", *(word for each in SETTINGS for word in ("--set", each))]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder in which the model "tiny" was built of eight pictures, and the options that say so."""
    folder = tmp_path_factory.mktemp("models")
    levels = np.random.default_rng(0).integers(256, size=(8, 8, 8), dtype=np.uint8)
    for place, picture in enumerate(levels):
        path = folder / "mine" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    latent = {"autoencoder": "digits", "diffusion": "digits-latent"}
    plan = script.Plan(data=str(folder / "mine"), tokenizer="digits", transformer="digits", decoder="tiny", **latent)
    usual = decoder_run("emoji-32")
    decoder = replace(usual, samples=6, losses=replace(usual.losses, patch_channels=4, patch_layers=1))
    places = ["--runs", str(folder / "runs"), "--output", str(folder / "output")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(script.MODELS, "tiny", plan)
        patch.setitem(DECODERS, "tiny", decoder)
        assert script.main(["tiny", *places, *OPTIONS]) == 0
        yield folder, places


@pytest.mark.parametrize(
    ("package", "cls", "run"),
    [("var", VARPipeline, "decoder"), ("diffusion_baseline", DiffusionPipeline, "diffusion")],
)
def test_what_was_trained_is_stored_in_bfloat16_beside_its_card(places, package, cls, run):
    folder, _ = places
    stored = cls.from_pretrained(folder / "output" / package / "models" / "tiny")
    trained = cls.from_pretrained(folder / "runs" / "tiny" / run)
    preset = transformer_run("digits") if package == "var" else diffusion_run("digits-latent")
    assert stored.sampling == trained.sampling == preset.sampling
    assert stored.models().keys() == trained.models().keys()
    for part in stored.models():
        assert {weight.dtype for weight in getattr(stored, part).parameters()} == {torch.bfloat16}
        assert_same_weights(getattr(stored, part), getattr(trained, part).to(torch.bfloat16))
    page = (folder / "output" / package / "models" / "tiny" / "README.md").read_text()
    assert f'{cls.__name__}.from_pretrained("next-scale/tiny")' in page
    assert f"`python scripts/build_models.py tiny --set {SETTINGS[0]} --set" in page
    assert "2 steps of 4 images, seed 0" in page
    assert ("decoder 2 steps of 4 images" in page) == (package == "var")
    assert ("autoencoder 2 steps of 4 images" in page) == (package == "diffusion_baseline")
    assert r"| fd\_mine |" in page
    assert (r"| tokenizer: psnr |" in page) == (package == "var")


def test_what_is_trained_is_not_trained_again_and_too_much_is_refused(places, capsys, monkeypatch):
    folder, words = places
    models = folder / "output" / "var" / "models"
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    monkeypatch.setattr(script, "MOST", 1_500_000)
    assert script.main(["tiny", *words, *OPTIONS]) == 2
    out, err = capsys.readouterr()
    assert out.count("nothing is left to do") == 5
    assert "must take at most 1,500,000 bytes together, got 3," in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in models.iterdir()) == ["tiny"]


def test_mistakes_are_one_line(tmp_path, capsys):
    assert script.main(["digit"]) == 2
    places = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "output")]
    assert script.main(["digits", *places, "--set", "training.step=2"]) == 2
    assert [line.split(": error: ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "build_models.py", "var train"
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_every_model_of_the_packages_is_in_the_table():
    for package in ("var", "diffusion_baseline"):
        assert {each.partition("/")[2] for each in packaged_models(package)} <= script.MODELS.keys()


@pytest.mark.parametrize(("mistaken", "share"), [((), 1.0), (("ground",), 0.0), (("size",), 1.0)])
def test_cards_of_models_in_words_say_how_many_images_are_as_asked(monkeypatch, mistaken, share):
    sources = {"seen": "shapes?combinations=seen", "held out": "shapes?combinations=held-out"}
    asked = {name: open_data(source, split="test", captions=True) for name, source in sources.items()}
    wishes = [[data.words_in(caption) for caption in data.captions[:3]] for data in asked.values()]
    drawn = []

    class Judge:
        """Reads what was asked for, and other words of attributes that it is mistaken about."""

        def read(self, images):
            assert (images.dtype, images.shape) == (torch.uint8, (3, 3, 32, 32))
            wanted = wishes[len(drawn) - 1]
            return {name: ["?" if name in mistaken else each[name] for each in wanted] for name in wanted[0]}

    def pipeline(*, prompt, seeds, output_type):
        drawn.append((prompt, [*seeds], output_type))
        return SimpleNamespace(images=torch.rand(3, 3, 32, 32))

    monkeypatch.setattr("var.evaluation.features.attributes.train_attributes", lambda data: Judge())
    monkeypatch.setattr(script, "ASKED", 3)
    assert script._asking("shapes-text")(pipeline) == {
        f"text_alignment, {name}{kind}": share for name in asked for kind in ("", ", real images")
    }
    assert drawn == [(data.captions[:3], [0, 1, 2], "pt") for data in asked.values()]
    assert script._asking("digits")(pipeline) == {}
