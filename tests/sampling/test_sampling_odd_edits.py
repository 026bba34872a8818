"""An edit from outside, and images and masks of odd kinds, are looked at before any work."""

import warnings

import pytest
import torch
from PIL import Image
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from diffusion_baseline.editing import Edit as NoisyEdit
from var.generation.editing import Edit

pytestmark = pytest.mark.usefixtures("_untyped")
QUIET = {"output_type": "pt", "progress": False, "seeds": [1]}


@pytest.fixture(scope="module", params=["var", "diffusion"])
def both(request):
    """A pipeline, and what makes its edits."""
    if request.param == "var":
        return tiny_pipeline(), lambda **parts: Edit(**parts)
    return tiny_diffusion_pipeline(), lambda **parts: NoisyEdit(strength=0.5, **parts)


def some(pipe, **kind):
    return torch.zeros(1, *pipe.image_shape, **kind)


def test_what_is_no_edit_of_this_pipeline(both):
    pipe, _ = both
    other = NoisyEdit(images=some(pipe), strength=0.5) if isinstance(both[1](images=some(pipe)), Edit) else None
    for given in ("x", 5, [some(pipe)], {}, [], False, some(pipe), other or Edit(images=some(pipe))):
        with one_line("edit must be the Edit of this pipeline, or None for images out of nothing, got "):
            pipe(3, edit=given, **QUIET)


def test_edits_of_images_and_masks_that_do_not_fit(both):
    pipe, make = both
    height, width = pipe.image_shape[1:]
    for images in (some(pipe)[:, :, 1:], some(pipe) + 2, some(pipe)[:0], "x", some(pipe, device="meta")):
        with one_line("images of an edit must|an edit needs at least one image"):
            pipe(3, edit=make(images=images), **QUIET)
    bools = torch.zeros(1, 1, height, width, dtype=torch.bool)
    for masks in (torch.zeros(1, 1, 3, 3, dtype=torch.bool), bools.float(), bools[0], bools.to("meta"), "x"):
        with one_line(rf"masks of an edit must be bools \(n, 1, {height}, {width}\), got .*; call the method edit"):
            pipe(3, edit=make(images=some(pipe), masks=masks), **QUIET)
    pipe(3, edit=make(images=some(pipe), masks=~bools), **QUIET)


def odd(images):
    with warnings.catch_warnings(action="ignore"):
        nested = torch.nested.nested_tensor([images[0], images[0]])
    return [images.to("meta"), images.to_sparse(), images.to(torch.float8_e4m3fn), nested]


def test_images_and_masks_of_odd_kinds(both):
    pipe, _ = both
    images, masks = some(pipe), torch.ones(pipe.image_shape[1:])
    for name, given in [*(("images", each) for each in odd(images)), ("images", [odd(images)[1]])]:
        with one_line(f"{name} must be dense"):
            pipe.edit(given, masks, 3, **QUIET)
    for given in odd(masks[None]):
        with one_line("masks must be dense"):
            pipe.edit(images, given, 3, **QUIET)


def test_images_without_pixels(both):
    pipe, _ = both
    for images in (torch.zeros(1, 1, 0, 0), Image.new("L", (0, 0))):
        with one_line("images must (be [0-9x]+ .*|have pixels, )got 0x0"):
            pipe.edit(images, torch.ones(6, 6), 3, **QUIET)
        if hasattr(pipe, "upscale"):
            with one_line("images must have pixels, got 0x0"):
                pipe.upscale(images, **QUIET)


def test_closed_pictures_and_more_images_than_any_call_makes(both, tmp_path):
    pipe, _ = both
    size = pipe.image_shape[1:]
    Image.new("L", size[::-1]).save(tmp_path / "a.png")
    closed = Image.open(tmp_path / "a.png")
    closed.close()
    many = torch.zeros(1, 1, 1).expand(2**20 + 1, *size)
    for images, masks, found in (
        (closed, torch.ones(size), "images must be pictures that can be read: "),
        (some(pipe), closed, "masks must be pictures that can be read: "),
        (many[:, None], torch.ones(size), "a call takes at most 1048576 of its images, got 1048577"),
        (some(pipe), many, "a call takes at most 1048576 of its masks, got 1048577"),
    ):
        with one_line(found):
            pipe.edit(images, masks, 3, **QUIET)
