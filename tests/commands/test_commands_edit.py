"""`edit` of both packages: pictures in, files out; what is recorded, kept and refused."""

import numpy as np
import pytest
import torch
from PIL import Image

import diffusion_baseline.commands.edit
import var.commands.edit
from diffusion_baseline import DiffusionPipeline
from var import VARPipeline
from var.errors import UserError
from var.images import to_pil
from var.sampling.record import read_record

PACKAGES = ("var", "diffusion_baseline")
PIPELINES = {"var": VARPipeline, "diffusion_baseline": DiffusionPipeline}
EDITS = {
    "var": var.commands.edit.EditSettings,
    "diffusion_baseline": diffusion_baseline.commands.edit.EditSettings,
}
SIZES = {"var": (6, 6), "diffusion_baseline": (4, 8)}  # (height, width)
OPTIONS = {
    "var": ["--keep-scales", "1", "--keep-pixels", "--guidance", "2"],
    "diffusion_baseline": ["--strength", "0.5", "--resampling", "2", "--steps", "4"],
}
CALLS = {
    "var": {"keep_scales": 1, "keep_pixels": True, "guidance_scale": 2},
    "diffusion_baseline": {"strength": 0.5, "resampling": 2, "num_inference_steps": 4},
}


@pytest.fixture
def pictures(tmp_path):
    """Files of two images and a mask of the right half, of each package's size."""
    paths = {}
    for package, (height, width) in SIZES.items():
        folder = tmp_path / "in" / package
        folder.mkdir(parents=True)
        images = 2 * torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0)) - 1
        mask = torch.full((1, 1, height, width), -1.0)
        mask[..., width // 2 :] = 1
        paths[package] = [folder / f"{name}.png" for name in ("first", "second", "mask")]
        for path, picture in zip(paths[package], to_pil(torch.cat([images, mask])), strict=True):
            picture.save(path)
    return paths


@pytest.fixture
def edit(command, saved, tmp_path):
    """Run `edit` with the saved pipeline of a package, into the folder `out`."""

    def edit(package, *argv, output=tmp_path / "out"):
        options = ["--model", saved[package], "--output", output, "--device", "cpu", "--quiet"]
        return command(package, "edit", *options, *argv)

    return edit


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("package", PACKAGES)
def test_edits_are_those_of_the_pipeline(edit, saved, pictures, tmp_path, package):
    first, second, mask = pictures[package]
    grid, out = tmp_path / "grid.png", tmp_path / "out"
    asked = ["--images", first, second, "--masks", mask, "--classes", "cat", "--seeds", "3", "8", *OPTIONS[package]]
    code, text, err = edit(package, *asked, "--grid", grid)
    told = [f"2 images in {out / name}, 2 of them new\n" for name in ("first", "second")]
    assert (code, text, err) == (0, "".join([*told, f"all of them in {grid}\n"]), "")
    pipeline = PIPELINES[package].from_pretrained(saved[package])
    with Image.open(second) as given, Image.open(mask) as redrawn:
        drawn = pipeline.edit(given, redrawn, [2] * 2, seeds=[3, 8], progress=False, **CALLS[package]).images
    for seed, picture in zip((3, 8), drawn, strict=True):
        np.testing.assert_array_equal(pixels(out / "second" / f"{seed}.png"), np.asarray(picture))
    height, width = SIZES[package]
    np.testing.assert_array_equal(pixels(out / "first" / "3.png")[:, : width // 2], pixels(first)[:, : width // 2])
    # A row for each image: itself, the mask, the edits.
    assert pixels(grid).shape == (2 * (height + 1) + 1, 4 * (width + 1) + 1)
    np.testing.assert_array_equal(pixels(grid)[height + 2 : -1, 1 : width + 1], pixels(second))
    np.testing.assert_array_equal(pixels(grid)[height + 2 : -1, -width - 1 : -1], np.asarray(drawn[1]))
    record = read_record(out / "second" / "8.png")
    assert record.items() >= {"edit": "edit", "class_label": 2, "seed": 8, **CALLS[package]}.items()
    assert record["image"].startswith("second.png ")
    assert len(read_record(grid)["images"]) == 2
    if package == "var":
        assert edit(package, *asked)[1] == "".join(told).replace("2 of them", "0 of them")
        # Of another image these are no edits.
        code, _, err = edit(package, "--images", first, *asked[3:], output=out / "second")
        assert (code, "was drawn with image = 'second.png" in err) == (2, True)


@pytest.mark.parametrize("package", PACKAGES)
def test_without_masks_images_are_varied(edit, saved, pictures, tmp_path, package):
    option, call = {
        "var": (["--keep-scales", "2"], {"keep_scales": 2}),
        "diffusion_baseline": (["--strength", "0.5", "--steps", "4"], {"strength": 0.5, "num_inference_steps": 4}),
    }[package]
    first = pictures[package][0]
    assert edit(package, "--images", first, *option)[:2] == (0, f"1 image in {tmp_path / 'out'}, 1 of them new\n")
    pipeline = PIPELINES[package].from_pretrained(saved[package])
    with Image.open(first) as given:
        drawn = pipeline.variations(given, seeds=[0], progress=False, **call).images[0]
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "0.png"), np.asarray(drawn))


def test_small_images_are_upscaled(edit, saved, pictures, tmp_path):
    small = tmp_path / "small.png"
    with Image.open(pictures["var"][0]) as picture:
        picture.resize((4, 4)).convert("RGBA").save(small)  # of another mode, which is converted
    code, _, err = edit("var", "--images", small, "--upscale", "--classes", "1", "--grid", tmp_path / "grid.png")
    assert (code, err) == (0, "")
    assert pixels(tmp_path / "out" / "0.png").shape == (6, 6)
    assert pixels(tmp_path / "grid.png").shape == (8, 15)
    assert read_record(tmp_path / "out" / "0.png")["edit"] == "upscale"


WRONG = [
    ("var", ["--keep-scales", "9"], "keep_scales must lie in [0, 3], got 9; correct it"),
    ("var", ["--masks", "MASK", "MASK"], "--masks must be one for all images or one for each of 1, got 2; correct it"),
    ("var", ["--masks", "FIRST"], "first.png: masks must be binary, black (0) and white (255) where an image is re"),
    ("var", ["--masks", "WIDE"], "wide.png: masks must be 6x6 pixels (height x width) as the model's images are, got "),
    ("var", ["--masks", "MASK", "--grid", "MASK"], "--grid must not write over what is read or into it, got "),
    ("diffusion_baseline", ["--strength", "2"], "strength must lie in (0, 1], where 1 begins with noise, got 2.0; c"),
]


@pytest.mark.parametrize(("package", "options", "message"), WRONG)
def test_wrong_options_are_refused(edit, pictures, tmp_path, package, options, message):
    first, _, mask = pictures[package]
    wide = pictures["diffusion_baseline"][2]
    files = {"MASK": mask, "FIRST": first, "WIDE": wide.rename(wide.with_name("wide.png"))}
    code, out, err = edit(package, "--images", first, *[files.get(each, each) for each in options])
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("package", "settings", "masked", "message"),
    [
        ("var", {}, False, "variations keep some scales of the images, got none; pass --keep-scales, or --masks"),
        (
            "var",
            {"keep_scales": 1, "blend": 1},
            False,
            "variations is without --blend, got both; leave one",
        ),
        ("var", {"upscale": True}, True, "upscale is without masks, got both; leave one of them out"),
        ("var", {"upscale": True, "keep_scales": 2}, False, "upscale is without --keep-scales, got both; leave one"),
        ("diffusion_baseline", {"jump": 2}, False, "variations are without --jump, got it without --masks; leave it"),
    ],
)
def test_options_that_contradict_each_other(package, settings, masked, message):
    with pytest.raises(UserError, match=message):
        EDITS[package](**settings).method(masked)


def test_wrong_files_are_refused(edit, pictures, tmp_path):
    first, _, mask = pictures["var"]
    wide = pictures["diffusion_baseline"][0]
    code, _, err = edit("var", "--images", first, mask, wide, "--keep-scales", "1")
    assert (code, "--images must have different names" in err) == (2, True)
    wide.rename(wide.with_name("wide.png"))
    code, _, err = edit("var", "--images", first, wide.with_name("wide.png"), "--keep-scales", "1")
    assert (code, "wide.png: images must be 6x6 (height x width), got 4x8; resize or crop them" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    code, _, err = edit("var", "--images", first, "--keep-scales", "1", output=first.parent)
    assert (code, f"--output must not hold what is read, got {first.parent} with" in err) == (2, True)
