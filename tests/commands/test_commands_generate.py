"""`generate` of both packages: options in, files out; what is recorded, kept and refused."""

import json
import re
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline
from var.evaluation.sets.samples import open_samples
from var.sampling.record import read_record
from var.terms import Terms

PACKAGES = ("var", "diffusion_baseline")
PIPELINES = {"var": VARPipeline, "diffusion_baseline": DiffusionPipeline}
OPTIONS = {
    "var": ["--guidance", "2.5", "--top-k", "9", "--top-p", "0.96", "--temperature", "1.1", "--min-p", "0.05"],
    "diffusion_baseline": ["--guidance", "2.5", "--steps", "4"],
}
CALLS = {
    "var": {"guidance_scale": 2.5, "top_k": 9, "top_p": 0.96, "temperature": 1.1, "min_p": 0.05},
    "diffusion_baseline": {"guidance_scale": 2.5, "num_inference_steps": 4},
}


@pytest.fixture
def generate(command, saved, tmp_path):
    """Run `generate` on the saved pipeline of a package, into the folder `out`."""

    def generate(package, *argv, output=tmp_path / "out"):
        options = ["--model", saved[package], "--output", output, "--device", "cpu", "--quiet"]
        return command(package, "generate", *options, *argv)

    return generate


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("package", PACKAGES)
def test_images_are_those_of_the_pipeline(generate, saved, tmp_path, package):
    code, out, err = generate(package, "--classes", "cat", "--seeds", "3", "8-9", *OPTIONS[package])
    assert (code, out, err) == (0, f"3 images in {tmp_path / 'out'}, 3 of them new\n", "")
    pipeline = PIPELINES[package].from_pretrained(saved[package])
    pictures = pipeline([2] * 3, seeds=[3, 8, 9], progress=False, **CALLS[package]).images
    assert sorted(files(tmp_path / "out")) == ["3.png", "8.png", "9.png"]
    for seed, picture in zip((3, 8, 9), pictures, strict=True):
        with Image.open(tmp_path / "out" / f"{seed}.png") as drawn:
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(picture))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_record_repeats_the_image(generate, saved, tmp_path, package):
    generate(package, "--classes", "cat", "--seeds", "5", *OPTIONS[package])
    record = read_record(tmp_path / "out" / "5.png")
    assert record["class_name"] == "cat, felis catus"
    assert (record["pipeline"], record["dtype"], record["device"]) == (PIPELINES[package].__name__, "float32", "cpu")
    assert set(record["versions"]) == {"next-scale", "torch", "pillow", "python"}
    about = {"pipeline", "model", "variant", "revision", "fingerprint", "dtype", "device", "compile", "versions"}
    call = {name: value for name, value in record.items() if name not in about}
    label, _, seed = call.pop("class_label"), call.pop("class_name"), call.pop("seed")
    assert call.items() >= CALLS[package].items()
    again = PIPELINES[package].from_pretrained(record["model"])(label, seeds=[seed], progress=False, **call).images[0]
    with Image.open(tmp_path / "out" / "5.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(again))


@pytest.mark.parametrize("package", PACKAGES)
def test_images_keep_the_terms_of_what_their_model_was_trained_on(generate, saved, tmp_path, package):
    generate(package, "--classes", "cat", "--seeds", "0")
    assert "terms" not in read_record(tmp_path / "out" / "0.png"), "records are as they were where none are known"
    index, terms = saved[package] / "pipeline_index.json", {"licence": "CC BY-SA 4.0", "attribution": "By us"}
    plain = index.read_text()
    index.write_text(json.dumps({**json.loads(plain), "terms": terms}))
    said = generate(package, "--classes", "cat", "--seeds", "0-1")[1]
    index.write_text(plain)
    assert said.endswith("1 of them new\n"), "what is known of a model makes it no other one"
    assert read_record(tmp_path / "out" / "1.png")["terms"] == terms
    assert open_samples(tmp_path / "out").model_terms == Terms(**terms)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_class_gets_every_seed_in_its_own_folder(generate, tmp_path, package):
    grid = tmp_path / "grids" / "all.png"
    code, out, _ = generate(package, "--classes", "DOG", "0", "felis catus", "--seeds", "0-1", "--grid", grid)
    assert code == 0
    assert out.endswith(f"all of them in {grid}\n")
    names = [f"{folder}/{seed}.png" for folder in ("0-ant", "2-cat", "3-dog") for seed in (0, 1)]
    assert sorted(files(tmp_path / "out")) == names
    with Image.open(tmp_path / "out" / "3-dog" / "1.png") as picture, Image.open(grid) as both:
        width, height = picture.size
        assert both.size == (2 * (width + 1) + 1, 3 * (height + 1) + 1)  # a row for each class, as they were asked for
        place = (width + 2, 1, 2 * width + 2, height + 1)
        np.testing.assert_array_equal(np.asarray(both.crop(place)), np.asarray(picture))
    # A class does not see which others were asked for.
    generate(package, "--classes", "dog", "--seeds", "1", output=tmp_path / "alone")
    assert files(tmp_path / "alone")["1.png"] == files(tmp_path / "out")["3-dog/1.png"]


@pytest.mark.parametrize("package", PACKAGES)
def test_batch_size_does_not_show_in_the_files(generate, tmp_path, package):
    for size in (1, 4):
        options = ["--classes", "1", "--seeds", "0-5", *OPTIONS[package], "--batch-size", size]
        assert generate(package, *options, output=tmp_path / str(size))[0] == 0
    assert len(files(tmp_path / "1")) == 6
    assert files(tmp_path / "1") == files(tmp_path / "4")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_second_run_keeps_the_first_ones_images(generate, tmp_path, package):
    out = tmp_path / "out"
    generate(package, "--classes", "1", "--seeds", "0-2")
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert generate(package, "--classes", "bee", "--seeds", "0-3")[1] == f"4 images in {out}, 1 of them new\n"
    assert {path: path.stat().st_mtime_ns for path in times} == times
    whole = files(out)
    (out / "2.png").write_bytes(whole["2.png"][:50])
    assert generate(package, "--classes", "bee", "--seeds", "0-3")[1].endswith("1 of them new\n")
    assert files(out) == whole
    code, _, err = generate(package, "--classes", "1", "--seeds", "0-3", "--guidance", "3")
    assert code == 2
    assert "was drawn with guidance_scale = 1.5, and now 3.0 is asked for; choose another --output, or pass" in err
    assert files(out) == whole
    code, text, _ = generate(package, "--classes", "1", "--seeds", "0-3", "--guidance", "3", "--overwrite")
    assert (code, text) == (0, f"4 images in {out}, 4 of them new\n")
    assert read_record(out / "0.png")["guidance_scale"] == 3


def test_classes_drawn_from_the_seeds_and_none_at_all(generate, tmp_path):
    generate("var", "--classes", "random", "--seeds", "0-29")
    labels = [read_record(tmp_path / "out" / f"{seed}.png")["class_label"] for seed in range(30)]
    assert set(labels) == set(range(5))
    generate("var", "--seeds", "0", output=tmp_path / "none")
    record = read_record(tmp_path / "none" / "0.png")
    assert (record["class_label"], record["class_name"]) == (None, None)


def test_half_precision_is_recorded(generate, tmp_path):
    assert generate("var", "--classes", "1", "--dtype", "bf16")[0] == 0
    assert read_record(tmp_path / "out" / "0.png")["dtype"] == "bfloat16"
    assert "drawn with dtype" in generate("var", "--classes", "1")[2] or "fingerprint" in generate("var")[2]


def test_compile_asks_the_pipeline_for_it(generate, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(VARPipeline, "compile", lambda self: asked.append(1) or self)
    assert generate("var", "--classes", "1", "--compile")[0] == 0
    assert asked == [1]
    assert read_record(tmp_path / "out" / "0.png")["compile"] is True


@pytest.mark.parametrize("package", PACKAGES)
def test_every_setting_of_a_call_is_an_option_of_the_same_name(command, package):
    code, out, _ = command(package, "generate", "--help")
    assert code == 0
    for field in fields(PIPELINES[package]._sampling_class):
        assert f"--{field.name.replace('_', '-')}" in out
    for name, short in (("guidance_scale", "--guidance"), ("num_inference_steps", "--steps")):
        if name in CALLS[package]:
            long = f"--{name.replace('_', '-')}"
            assert re.search(rf"^  {short} .*, {long} ", out, re.MULTILINE)
    assert "1 is off, 0 ignores the class" in " ".join(out.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_long_name_of_an_option_says_the_same_as_the_short_one(generate, package, tmp_path):
    options = [*OPTIONS[package], "--classes", "cat"]
    assert generate(package, *options)[0] == 0
    long = {"--guidance": "--guidance-scale", "--steps": "--num-inference-steps"}
    code, out, _ = generate(package, *(long.get(each, each) for each in options))
    assert (code, out) == (0, f"1 image in {tmp_path / 'out'}, 0 of them new\n")


@pytest.mark.parametrize(
    ("package", "options", "message"),
    [
        ("var", ["--model", "./nowhere"], "there is no nowhere"),
        ("var", ["--classes", "catt"], "got 'catt'; did you mean 'cat'"),
        ("var", ["--classes", "7"], "class labels must lie in [0, 5), got 7"),
        ("var", ["--classes", "cat", "2"], "classes must differ, got 'cat' more than once"),
        ("var", ["--seeds", "5-2"], "must run upwards, got '5-2'; write 2-5"),
        ("var", ["--seeds", "a-b"], "got 'a-b'; write for example 0-15"),
        ("var", ["--top-k", "-1"], "argument --top-k: expected a whole number from 0 on, got '-1'"),
        ("var", ["--top-p", "1.5"], "top_p is a probability and must lie in [0, 1], got 1.5"),
        ("var", ["--temperature", "0"], "temperature must be positive, got 0.0"),
        ("var", ["--guidance", "nan"], "argument --guidance/--guidance-scale: expected a number, got 'nan'"),
        ("var", ["--guidance-schedule", "liner"], "unknown value 'liner'; did you mean 'linear'"),
        ("var", ["--dtype", "fp8"], "unknown value 'fp8'; did you mean"),
        ("var", ["--device", "tpu"], "device 'tpu' cannot be used here"),
        ("var", ["--batch-size", "0"], "argument --batch-size: expected a whole number from 1 on, got '0'"),
        ("var", ["--grid", "x.jpg"], "a grid is a PNG file, got 'x.jpg'; name it for example x.png"),
        ("var", ["--seeds", "0-5000", "--grid", "x.png"], "a grid holds up to 1024 images, got 5001"),
        ("var", ["--output", "/dev/null/x"], "the output /dev/null/x must be writable"),
        ("var", ["--steps", "5"], "unknown option '--steps'"),
        ("diffusion_baseline", ["--steps", "21"], "1 to 20 steps with this schedule, got 21"),
        (
            "diffusion_baseline",
            ["--steps", "0"],
            "argument --steps/--num-inference-steps: expected a whole number from 1 on, got '0'",
        ),
        ("diffusion_baseline", ["--num-inference-steps", "x"], "from 1 on, got 'x'"),
        ("diffusion_baseline", ["--sampler", "ddmp"], "unknown value 'ddmp'; did you mean 'ddpm'"),
        ("diffusion_baseline", ["--eta", "2"], "eta must be between 0"),
    ],
)
def test_mistakes_are_one_line_and_code_2(generate, tmp_path, monkeypatch, package, options, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = generate(package, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_prompt_to_a_model_of_classes_is_refused_by_what_was_given(generate, package):
    for given, remedy in (((), "pass --classes"), (("--classes", "cat"), "leave the prompt out")):
        code, _, err = generate(package, *given, "--prompt", "a cat", "--seeds", "0")
        assert (code, err.count("\n")) == (2, 1)
        assert f"the model takes classes and no prompts, got 'a cat'; {remedy}" in err
