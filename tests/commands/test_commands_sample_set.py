"""`sample-set` of both packages: the images of a protocol, by one process or several, and packed."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_diffusion_pipeline, tiny_pipeline

from var.evaluation.sets.protocols import PROTOCOLS
from var.sampling.record import read_record

ROOT = Path(__file__).parents[2]
PACKAGES = ("var", "diffusion_baseline")


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Folders of pipelines that make what the protocol `digits` is about: 10 classes, 8x8 pixels, grey."""
    folders = {name: tmp_path_factory.mktemp("digits") / name for name in PACKAGES}
    tiny_pipeline(sides=(1, 2, 4), num_classes=10).save_pretrained(folders["var"])
    diffusion = tiny_diffusion_pipeline(timesteps=50, image_size=8, num_classes=10)
    diffusion.save_pretrained(folders["diffusion_baseline"])
    return folders


@pytest.fixture
def sample_set(command, digits):
    def sample_set(package, output, *argv, protocol="digits"):
        options = ["--model", digits[package], "--protocol", protocol, "--device", "cpu", "--quiet"]
        return command(package, "sample-set", *options, "--output", output, *argv)

    return sample_set


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_set_is_what_the_protocol_says(sample_set, tmp_path, package):
    out, npz = tmp_path / "set", tmp_path / "packed" / "set.npz"
    code, text, err = sample_set(package, out, "--count", "10", "--npz", npz)
    assert (code, text, err) == (0, f"10 images in {out}, 10 of them new\n", "")
    assert set(files(out)) == {"sample-set.json", *(f"{seed}.png" for seed in range(0, 1000, 100))}
    records = [read_record(out / f"{seed}.png") for seed in range(0, 1000, 100)]
    assert [record["class_label"] for record in records] == list(range(10))
    assert {record["guidance_scale"] for record in records} == {1.1}
    assert {record["rounding"] for record in records} == {"nearest"}
    about = json.loads((out / "sample-set.json").read_text(encoding="utf-8"))
    assert (about["part_of"], about["count"]) == ("digits", 10)
    with np.load(npz) as packed:
        assert packed["arr_0"].shape == (10, 8, 8, 1)
        assert packed["arr_0"].dtype == np.uint8
        np.testing.assert_array_equal(packed["arr_1"], np.arange(10))
        with Image.open(out / "900.png") as last:
            np.testing.assert_array_equal(packed["arr_0"][-1, ..., 0], np.asarray(last))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_protocol_that_rounds_downwards_makes_darker_images(sample_set, tmp_path, monkeypatch, package):
    paradigm = "var" if package == "var" else "diffusion"
    down = replace(PROTOCOLS["digits", paradigm], name="digits-down", rounding="truncate")
    monkeypatch.setitem(PROTOCOLS, ("digits-down", paradigm), down)
    for name in ("digits", "digits-down"):
        assert sample_set(package, tmp_path / name, "--count", "5", protocol=name)[0] == 0
    near, low = (
        np.stack([np.asarray(Image.open(tmp_path / name / f"{seed}.png")) for seed in range(0, 1000, 200)]).astype(int)
        for name in ("digits", "digits-down")
    )
    assert set(np.unique(near - low)) == {0, 1}
    about = json.loads((tmp_path / "digits-down" / "sample-set.json").read_text(encoding="utf-8"))
    assert about["settings"]["rounding"] == "truncate"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_lost_is_drawn_again_as_it_was(sample_set, tmp_path, package):
    out = tmp_path / "set"
    sample_set(package, out, "--count", "5", "--batch-size", "2")
    whole = files(out)
    for name in ("200.png", "800.png", "sample-set.json"):
        (out / name).unlink()
    assert sample_set(package, out, "--count", "5", "--batch-size", "2")[1].endswith("2 of them new\n")
    assert files(out) == whole


@pytest.mark.parametrize(
    ("package", "options", "message"),
    [
        ("var", {"protocol": "digts"}, "unknown protocol 'digts' for VAR; did you mean 'digits'"),
        ("diffusion_baseline", {"protocol": "imagenet256-unguided"}, "unknown protocol 'imagenet256-unguided' for"),
        ("var", {"protocol": "imagenet256-official"}, "of 1000 classes and 256x256x3 images, got one of 10 and 8x8x1"),
    ],
)
def test_mistakes_are_one_line_and_code_2(sample_set, tmp_path, package, options, message):
    code, out, err = sample_set(package, tmp_path / "set", **options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_two_processes_of_which_one_is_killed_leave_what_one_leaves(sample_set, digits, forker, tmp_path):
    sample_set("var", tmp_path / "alone", "--count", "40", "--batch-size", "2")
    together = tmp_path / "together"
    command = ["var", "sample-set", "--model", digits["var"], "--protocol", "digits", "--output", together]
    command += ["--device", "cpu", "--quiet", "--count", "40", "--batch-size", "2"]
    killed, other = (
        forker.start(
            "processes.run_module", tmp_path / f"output-{rank}", *command, environment={"WORLD_SIZE": 2, "RANK": rank}
        )
        for rank in range(2)
    )
    while forker.poll(killed) is None and not list(together.glob("*.png")):
        time.sleep(0.01)
    os.kill(killed, signal.SIGKILL)
    forker.wait(killed)
    assert forker.wait(other, seconds=300) == 0, (tmp_path / "output-1").read_text()
    assert files(together) == files(tmp_path / "alone")


@pytest.mark.parametrize("package", PACKAGES)
def test_sets_are_not_mixed(sample_set, command, digits, tmp_path, package):
    """Section 2, "own files overwritten or mixed": further images would make a set one that nothing judges."""
    out = tmp_path / "set"
    assert sample_set(package, out, "--count", "10")[0] == 0
    before = files(out)
    code, _, err = sample_set(package, out, "--count", "5")
    assert (code, "which is not of it; choose another --output\n" in err) == (2, True)
    options = ["--model", digits[package], "--device", "cpu", "--quiet", "--output", out, "--seeds", "7"]
    code, _, err = command(package, "generate", *options)
    assert (code, "holds the set of sample-set.json; choose another --output\n" in err) == (2, True)
    assert files(out) == before
    drawn = tmp_path / "drawn"
    command(package, "generate", *options[:-3], drawn, "--seeds", "7")
    assert sample_set(package, drawn, "--count", "5")[0] == 2
    assert set(files(drawn)) == {"7.png"}
    assert sample_set(package, out, "--count", "20")[0] == 0  # more of the same set


def test_images_of_other_seeds_are_not_mixed_in(sample_set, tmp_path):
    out = tmp_path / "set"
    assert sample_set("var", out, "--count", "3")[0] == 0  # 0, 333, 666
    before = files(out)
    code, _, err = sample_set("var", out, "--count", "4")
    assert (code, files(out)) == (2, before)
    assert "holds 333.png, which is not of it; choose another --output" in err
    assert sample_set("var", out, "--count", "6")[:2] == (0, f"6 images in {out}, 3 of them new\n")
