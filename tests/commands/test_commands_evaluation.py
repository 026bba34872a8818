"""`stats`, `evaluate` and `report`: folders of images in, files and text out."""

import json
import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image

from var.evaluation.features.classifier import Classifier, ClassifierConfig
from var.evaluation.features.extraction import Features


def write_images(folder, seed, count=40):
    """Grey 8x8 images; those of other seeds are of the same kind."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folders `real`, `a` and `b` of images, and `judge`, of a classifier that was never trained."""
    root = tmp_path_factory.mktemp("images")
    for seed, name in enumerate(("real", "a", "b")):
        write_images(root / name, seed)
    torch.manual_seed(0)
    Classifier(ClassifierConfig(widths=(6, 6), strides=(1, 2))).save_pretrained(root / "judge")
    return root


@pytest.fixture
def evaluate(command, images):
    """Run commands with the classifier as the judge."""

    def evaluate(name, *argv):
        return command("var", *name.split(), "--extractor", images / "judge", "--device", "cpu", "--quiet", *argv)

    return evaluate


@pytest.fixture
def reference(evaluate, images, tmp_path):
    path = tmp_path / "reference.npz"
    code, out, err = evaluate("stats build", images / "real", "--channels", "1", "--output", path)
    assert (code, out, err) == (0, f"statistics of {images / 'real'} in {path}\n", "")
    return path


def test_statistics_are_in_adms_layout(reference):
    with np.load(reference) as file:
        assert file["mu"].shape == (6,)
        assert file["sigma"].shape == (6, 6)


def test_statistics_of_resized_images(evaluate, images, tmp_path):
    path = tmp_path / "small.npz"
    # The classifier takes 8x8 only, so that resizing shows in what it refuses.
    options = ["--channels", "1", "--output", path]
    assert evaluate("stats build", images / "real", "--size", "8", *options)[0] == 0
    code, _, err = evaluate("stats build", images / "real", "--size", "4", *options)
    assert code == 2
    assert err.count("\n") == 1


def test_a_report_in_every_form(evaluate, command, images, reference, tmp_path):
    single = [arg for kind in ("json", "markdown", "html") for arg in (f"--{kind}", tmp_path / "single" / f"r.{kind}")]
    samples = [images / "a", images / "b"]
    code, out, err = evaluate(
        "evaluate", *samples, "--reference", reference, "--name", "noise", "--output", tmp_path / "all", *single
    )
    assert (code, err) == (0, "")
    assert "FD-digits" in out
    report = json.loads((tmp_path / "all" / "scores.json").read_text(encoding="utf-8"))
    assert report["name"] == "noise"
    assert [one["samples"] for one in report["sets"]] == [40, 40]
    assert len(report["scores"]["fd"]) == 2
    for kind, name in (("json", "scores.json"), ("markdown", "scores.md"), ("html", "scores.html")):
        text = (tmp_path / "single" / f"r.{kind}").read_text(encoding="utf-8")
        assert text == (tmp_path / "all" / name).read_text(encoding="utf-8")
        assert text
    # The same numbers, set side by side with those of one of the sets.
    one = tmp_path / "one.json"
    assert evaluate("evaluate", images / "a", "--reference", reference, "--name", "noise", "--json", one)[0] == 0
    assert json.loads(one.read_text(encoding="utf-8"))["scores"]["fd"] == report["scores"]["fd"][:1]
    code, text, err = command("var", "report", "diff", tmp_path / "all" / "scores.json", one)
    assert (code, err) == (0, "")
    assert "FD-digits" in text
    assert command("var", "report", "diff", one, one, "--markdown")[1].count("|") > 10


def test_statistics_of_another_network_are_refused_before_any_download(command, images, reference, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    for options in ([], ["--extractor", "dinov2"], ["--extractor", "timm:resnet18"]):
        code, out, err = command("var", "evaluate", images / "a", "--reference", reference, "--quiet", *options)
        asked = options[-1] if options else "inception"
        said = f"{reference} was made with the classifier digits, got {asked}; give its folder, such as a run's `judge`"
        assert (code, out, err) == (2, "", f"var evaluate: error: {said}, by --extractor\n")


def test_without_published_weights_the_judge_of_a_run_is_a_choice(command, images, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    code, _, err = command("var", "stats", "build", images / "real", "--output", tmp_path / "x.npz", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "and give its path, or judge by a classifier's folder, such as the `judge` in that of a run" in err


def test_mistakes_are_one_line_and_code_2(evaluate, command, images, reference, tmp_path):
    good = ["evaluate", images / "a", "--reference", reference]
    for argv, message in (
        (["evaluate", tmp_path / "nowhere", "--reference", reference], "nowhere"),
        (["evaluate", images / "a", "--reference", tmp_path / "no.npz"], "no.npz"),
        ([*good, "--extractor", "incepton"], "got 'incepton'; did you mean 'inception'"),
        ([*good, "--protocol", "digts"], "unknown protocol 'digts'"),
        ([*good, "--protocol", "digits"], "count"),
        ([*good, "--json", tmp_path], "is a folder; name a file in it"),
        ([*good, "--output", reference], "must be writable"),
        ([*good, "--keep-share", "x"], "argument --keep-share: expected a number, got 'x'"),
        ([*good, "--classifier", "timm:resnet1010"], "timm knows no network 'resnet1010'; did you mean 'resnet101'"),
        ([*good, "--classifier-weights", "x"], "--classifier-weights are of a --classifier, got none; name it"),
        (["stats build", images / "nowhere", "--output", tmp_path / "x.npz"], "nowhere"),
        (["stats build", images / "real", "--output", tmp_path], "is a folder"),
        (["stats build", images / "real", "--channels", "2", "--output", tmp_path / "x.npz"], "invalid choice: 2"),
    ):
        code, out, err = evaluate(*argv)
        assert (code, out) == (2, ""), (argv, err)
        assert message in err
        assert err.count("\n") == 1, err
    code, _, err = command("var", "report", "diff", tmp_path / "no.json", tmp_path / "no.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "no.json" in err


@pytest.mark.parametrize(
    ("options", "field"),
    [(("--size", "6", "--channels", "1"), "height"), (("--size", "8", "--channels", "3"), "channels")],
)
def test_statistics_of_another_size_are_refused_with_the_field(monkeypatch, evaluate, images, tmp_path, options, field):
    # A judge that sees any size.
    class AnySize:
        name, digest = "any", "0" * 64

        def __call__(self, batch):
            return Features(features=batch.flatten(2).float().mean(2).repeat(1, 2))

    monkeypatch.setattr("var.commands.extractor.load", lambda arguments, progress: AnySize())
    path = tmp_path / "real.npz"
    assert evaluate("stats build", images / "real", *options, "--output", path)[0] == 0
    code, out, err = evaluate("evaluate", images / "a", "--reference", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"statistics must agree in {field} to be compared" in err


@pytest.mark.parametrize(
    ("field", "value"), [("crop", "random"), ("resize", "bilinear"), ("extractor", "other"), ("rounding", "down")]
)
def test_statistics_that_were_made_otherwise_are_refused_with_the_field(evaluate, images, tmp_path, field, value):
    path = tmp_path / "real.npz"
    options = ["--size", "8", "--channels", "1", "--output", path]
    assert evaluate("stats build", images / "real", *options)[0] == 0
    assert evaluate("evaluate", images / "a", "--reference", path)[0] == 0
    with np.load(path) as file:
        arrays = dict(file)
    arrays["provenance"] = np.array(json.dumps(json.loads(str(arrays["provenance"])) | {field: value}))
    np.savez(path, **arrays)
    code, out, err = evaluate("evaluate", images / "a", "--reference", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"statistics must agree in {field} to be compared, got {value!r} (the reference) and " in err
    assert f"(the samples in {images / 'a'})" in err


def test_statistics_of_another_network_are_refused_with_the_field(evaluate, images, reference, tmp_path):
    torch.manual_seed(1)
    Classifier(ClassifierConfig(widths=(6, 6), strides=(1, 2))).save_pretrained(tmp_path / "other")
    options = ["--reference", reference, "--extractor", tmp_path / "other"]
    code, out, err = evaluate("evaluate", images / "a", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "statistics must agree in extractor_digest to be compared" in err


def test_a_page_without_matplotlib_is_refused_before_the_work(evaluate, images, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = evaluate(
        "evaluate", images / "a", "--reference", tmp_path / "no.npz", "--html", tmp_path / "page.html"
    )
    assert code == 2
    assert 'needs matplotlib for its plots; pip install "next-scale[compare]"' in err
