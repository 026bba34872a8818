"""`generate` with guidance in an interval and by other models: what is drawn, and what its record says."""

import numpy as np
import pytest
from PIL import Image
from tiny import NAMES, tiny_classifier

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.classifier.model import NoisyClassifier
from var import Guidance, VARPipeline
from var.sampling.record import fingerprint, read_record

PIPELINES = {"var": VARPipeline, "diffusion_baseline": DiffusionPipeline}
INTERVALS = {"var": ["0", "2"], "diffusion_baseline": ["0.2", "0.9"]}


@pytest.fixture
def generate(command, saved, tmp_path):
    def generate(package, *argv):
        options = ["--model", saved[package], "--output", tmp_path / "out", "--device", "cpu", "--quiet"]
        steps = ["--steps", "4"] if package != "var" else []
        return command(package, "generate", *options, "--classes", "cat", "--guidance", "4", *steps, *argv)

    return generate


def drawn(tmp_path):
    with Image.open(tmp_path / "out" / "0.png") as image:
        return np.asarray(image), read_record(tmp_path / "out" / "0.png")


@pytest.mark.parametrize("package", PIPELINES)
def test_an_interval_and_a_weaker_model_are_recorded_and_repeat_the_image(generate, saved, tmp_path, package):
    options = ["--guidance-interval", *INTERVALS[package], "--weaker", saved[package]]
    assert generate(package, *options)[0] == 0
    picture, record = drawn(tmp_path)
    start, stop = record["guidance_interval"]
    assert [f"{start:g}", f"{stop:g}"] == INTERVALS[package]
    assert record["weaker"] == record["fingerprint"]
    pipe = PIPELINES[package].from_pretrained(saved[package])
    steps = {} if package == "var" else {"num_inference_steps": 4}
    guidance = Guidance(scale=4, start=start, stop=stop, weaker=pipe)
    again = pipe("cat", seeds=[0], progress=False, guidance=guidance, **steps).images[0]
    np.testing.assert_array_equal(picture, np.asarray(again))
    assert generate(package, *options)[1].endswith("0 of them new\n")
    code, _, err = generate(package, "--guidance-interval", *INTERVALS[package])
    assert code == 2
    assert f"was drawn with weaker = '{record['weaker']}', and now None is asked for" in err
    code, _, err = generate(package, "--weaker", saved[package])
    assert (code, "was drawn with guidance_interval = " in err) == (2, True)


def test_a_classifier_guides_and_is_recorded(generate, tmp_path):
    classifier = tiny_classifier(class_names=NAMES)
    classifier.save_pretrained(tmp_path / "classifier")
    options = ["--classifier", tmp_path / "classifier", "--classifier-scale", "30"]
    assert generate("diffusion_baseline", *options)[0] == 0
    picture, record = drawn(tmp_path)
    assert (record["classifier"], record["classifier_scale"]) == (fingerprint(classifier), 30.0)
    assert "guidance_interval" not in record
    assert generate("diffusion_baseline", "--overwrite")[0] == 0
    other, record = drawn(tmp_path)
    assert not np.array_equal(picture, other)
    assert "classifier" not in record


@pytest.mark.parametrize(
    ("package", "options", "message"),
    [
        ("var", ["--guidance-interval", "2", "9"], "guidance_interval must lie within 3 scales, got 2 and 9"),
        ("var", ["--guidance-interval", "0.1", "1"], "expected a whole number from 0 on, got '0.1'"),
        ("diffusion_baseline", ["--guidance-interval", "0.8", "0.1"], "the lower one first, got 0.8 and 0.1"),
        ("diffusion_baseline", ["--guidance-interval", "0.1"], "--guidance-interval: expected 2 arguments"),
        ("diffusion_baseline", ["--classifier-scale", "2"], "classifier_scale needs a classifier"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(generate, tmp_path, package, options, message):
    code, _, err = generate(package, *options)
    assert (code, err.count("\n"), message in err) == (2, 1, True), err
    assert not (tmp_path / "out").exists()


def test_a_classifier_of_other_classes_is_refused(generate, tmp_path):
    tiny_classifier(class_names=list("vwxyz")).save_pretrained(tmp_path / "classifier")
    code, _, err = generate("diffusion_baseline", "--classifier", tmp_path / "classifier")
    assert (code, "classifier must have the same class_names" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert NoisyClassifier.from_pretrained(tmp_path / "classifier").config.class_names == tuple("vwxyz")
