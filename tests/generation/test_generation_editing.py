"""Edits, variations and upscaling: which tokens are the input's, calls without images, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from grey_pyramid import GreyConfig, GreyPyramid
from tiny import spread

from var import VAR, ScaleSchedule, VARConfig, VARPipeline
from var.errors import UserError
from var.generation.editing import Edit, redrawn_tokens
from var.images import Signed, format_images, to_pil
from var.sampling.editing import given_images

QUIET = {"output_type": "pt", "progress": False}
ALL = torch.ones(6, 6, dtype=torch.bool)
NONE = ~ALL


@pytest.fixture(scope="module")
def grey():
    """A pipeline around a tokenizer from outside."""
    torch.manual_seed(3)
    model = VAR(VARConfig(sides=(1, 2, 4, 8), vocabulary=33, code_width=1, num_classes=5, depth=1, width=16, heads=2))
    return VARPipeline(GreyPyramid(GreyConfig()), spread(model))


def images(count=2, side=6, seed=3):
    """In [-1, 1]; shares of 2^-24 come back to the bit from either range."""
    return 2 * torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed)) - 1


def half(count=1, side=6):
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    masks[:, :, side // 2 :] = True
    return masks


def test_tokens_are_redrawn_by_their_share_of_the_mask():
    # Of the right half and one corner: 4.5 of 9, 3 of 4.5 and all of it at the scales of 1, 2 and 3 a side.
    mask = half()[None]
    found = redrawn_tokens(mask, ScaleSchedule((1, 2, 3)))
    assert [each[0].int().tolist() for each in found] == [[[0]], [[0, 1], [0, 1]], [[0, 1, 1]] * 3]
    mask[0, 0, 0, :3] = True  # now more than half of the first token, but a quarter at most of those on the left
    found = redrawn_tokens(mask, ScaleSchedule((1, 2, 3)))
    assert [each[0].int().tolist() for each in found] == [[[1]], [[1, 1], [0, 1]], [[1, 1, 1], [0, 1, 1], [0, 1, 1]]]
    for mask in (ALL, NONE):
        for each in redrawn_tokens(mask[None, None], ScaleSchedule(((1, 2), 2, 5))):
            assert bool(each.all()) == bool(each.any()) == bool(mask.any())


def test_tokens_outside_the_mask_are_the_inputs(pipe, grey):
    for model, side in ((pipe, 6), (grey, 8)):
        given, masks = images(3, side), half(3, side)
        masks[1] = False
        masks[1, :2, :2] = masks[1, -2:, -2:] = True  # two regions
        masks[2] = ~masks[2]
        own = model.vqvae.encode(given)
        out = model.edit(given, masks, [0, 1, 2], seeds=[1, 2, 3], **QUIET)
        for scale, redrawn in enumerate(redrawn_tokens(masks[:, None], model.vqvae.scales)):
            assert torch.equal(out.tokens[scale][~redrawn], own[scale][~redrawn])
        assert not torch.equal(out.tokens[-1], own[-1])
        assert torch.equal(
            out.images, format_images(model._prepare().decode(model.vqvae.accumulate(out.tokens)[-1]), "pt")
        )


@pytest.mark.parametrize("settings", [{}, {"top_k": 4, "guidance_scale": 2.5}, {"smooth": True}])
def test_a_whole_mask_is_a_call_without_an_image(pipe, settings):
    call = {**QUIET, **settings, "seeds": [5, 6]}
    free = pipe([1, 2], **call)
    out = pipe.edit(images(), ALL, [1, 2], **call)
    assert torch.equal(out.images, free.images)
    assert all(map(torch.equal, out.tokens, free.tokens))
    assert (out.labels.tolist(), out.seeds) == ([1, 2], [5, 6])
    assert torch.equal(pipe.variations(images(), [1, 2], keep_scales=0, **call).images, free.images)


def test_an_empty_mask_is_the_reconstruction(pipe, grey):
    for model, side, smooth in ((pipe, 6, True), (grey, 8, False)):
        given, none = images(2, side), torch.zeros(side, side, dtype=torch.bool)
        expected = (model.vqvae.reconstruct(given) + 1) / 2
        call = {**QUIET, "smooth": smooth, "seeds": [5, 6]}
        torch.testing.assert_close(model.edit(given, none, [1, 2], **call).images, expected)
        kept = len(model.vqvae.scales)
        torch.testing.assert_close(model.variations(given, keep_scales=kept, **call).images, expected)


def test_an_edit_does_not_depend_on_the_batch(pipe):
    given, masks, call = images(3), torch.stack([half()[0], ALL, NONE]), {**QUIET, "keep_scales": 1}
    out = pipe.edit(given, masks, [0, 1, 2], seeds=[5, 6, 7], **call)
    for row in range(3):
        alone = pipe.edit(given[row : row + 1], masks[row], row, seeds=[5 + row], **call)
        assert all(torch.equal(one[0], many[row]) for one, many in zip(alone.tokens, out.tokens, strict=True))
        torch.testing.assert_close(alone.images[0], out.images[row])


def test_whether_floats_are_below_zero_is_asked_of_each_image():
    """One in [0, 1] is the same alone and beside one in [-1, 1]."""
    bright, dark = images(1).abs(), images(1)
    both = given_images(torch.cat((bright, dark)), channels=1, size=(6, 6))
    for row, each in enumerate((bright, dark)):
        assert torch.equal(both[row], given_images(each, channels=1, size=(6, 6))[0])
    torch.testing.assert_close(both.float(), torch.cat((2 * bright - 1, dark)))


def test_an_image_known_to_be_bright_is_not_taken_for_another(pipe):
    bright, call = images().abs(), {"keep_pixels": True, "seeds": [1, 2], **QUIET}
    assert torch.equal(pipe.edit(Signed(bright), NONE, **call).images, bright / 2 + 0.5)
    assert torch.equal(pipe.edit(bright, NONE, **call).images, bright)


def test_one_image_or_mask_stands_for_all(pipe):
    call = {**QUIET, "seeds": [1, 2, 3]}
    one = pipe.edit(images(1), half(), 2, **call).images
    assert torch.equal(one, pipe.edit(images(1).expand(3, -1, -1, -1), half(3), [2] * 3, **call).images)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 3
    assert len(pipe.edit(images(1), half(2), **QUIET).images) == 2
    assert len(pipe.variations(to_pil(images(1))[0], keep_scales=1, num_images=2, **QUIET).images) == 2


def test_the_first_scales_are_kept_whole(pipe):
    own, given = pipe.vqvae.encode(images()), images()
    for kept in (1, 2):
        vary = pipe.variations(given, [1, 2], keep_scales=kept, seeds=[1, 2], **QUIET)
        edit = pipe.edit(given, ALL, [1, 2], keep_scales=kept, seeds=[1, 2], **QUIET)
        assert torch.equal(vary.images, edit.images)
        assert [torch.equal(*pair) for pair in zip(vary.tokens, own, strict=True)] == [k < kept for k in range(3)]


def test_the_maps_after_what_is_kept_are_drawn_given_it(pipe):
    """The likeliest codes, against the teacher-forced pass over what came out."""
    given, masks, labels = images(), half(), torch.tensor([1, 3])
    out = pipe.edit(given, masks, labels, top_k=1, guidance_scale=1, seeds=[0, 1], **QUIET)
    with torch.no_grad():
        best = pipe.transformer(labels, pipe.vqvae.teacher_inputs(out.tokens)).argmax(-1)
    redrawn = pipe.vqvae.scales.flatten([each.long() for each in redrawn_tokens(masks[:, None], pipe.vqvae.scales)])[0]
    assert torch.equal(pipe.vqvae.scales.flatten(out.tokens)[:, redrawn > 0], best[:, redrawn > 0])


def test_pixels_are_kept_when_asked_for(pipe):
    given, masks = images(3), torch.stack([half()[0], NONE, ALL])
    call = {**QUIET, "seeds": [1, 2, 3]}
    plain = pipe.edit(given, masks, [0, 1, 2], **call).images
    for blend in (0, 2):
        out = pipe.edit(given, masks, [0, 1, 2], keep_pixels=True, blend=blend, **call).images
        kept = ~masks[:, None]
        assert torch.equal(out[kept], format_images(given, "pt")[kept])
        assert torch.equal(out[2], plain[2])  # the edge of an image is no edge of a mask
        whole = format_images(given, "pt")[0, ..., 3:]
        weight = torch.tensor([1.0, 1.0, 1.0] if blend == 0 else [1 / 3, 2 / 3, 1.0])
        torch.testing.assert_close(out[0, ..., 3:], plain[0, ..., 3:] * weight + whole * (1 - weight))
    picture = pipe.edit(to_pil(given), masks, keep_pixels=True, **{**call, "output_type": "pil"}).images[0]
    np.testing.assert_array_equal(np.asarray(picture)[:, :3], np.asarray(to_pil(given)[0])[:, :3])
    shown = pipe.edit(given, NONE, keep_pixels=True, return_intermediates=True, **call).intermediates
    assert all(torch.equal(each, format_images(given, "pt")) for each in shown)


def test_a_picture_that_a_call_gave_is_edited(pipe):
    first = pipe([1, 2], seeds=[3, 4], progress=False)
    again = pipe.edit(first.images, half(), [1, 2], keep_pixels=True, seeds=[5, 6], progress=False)
    for before, after in zip(first.images, again.images, strict=True):
        np.testing.assert_array_equal(np.asarray(before)[:, :3], np.asarray(after)[:, :3])
        assert not np.array_equal(np.asarray(before), np.asarray(after))


def test_callbacks_see_what_is_taken(pipe):
    seen = []
    pipe.variations(
        images(), keep_scales=2, callback_on_step_end=lambda scale, map_, f: seen.append((map_, f)), **QUIET
    )
    own = pipe.vqvae.encode(images())
    assert [torch.equal(map_, mine) for (map_, _), mine in zip(seen, own, strict=True)] == [True, True, False]
    torch.testing.assert_close(seen[1][1], pipe.vqvae.accumulate(own)[1])


def test_upscaling_keeps_the_maps_that_a_small_image_fills(pipe, grey):
    for model, small, side, kept in ((pipe, 4, 6, 2), (grey, 3, 8, 2)):
        given = images(2, small)
        out = model.upscale(given, [1, 2], seeds=[1, 2], **QUIET)
        assert out.images.shape == (2, 1, side, side)
        large = F.interpolate(given, size=(side, side), mode="bicubic").clamp(-1, 1)
        same = [torch.equal(*pair) for pair in zip(out.tokens, model.vqvae.encode(large), strict=True)]
        assert same[: kept + 1] == [True] * kept + [False]
    flat = to_pil(torch.full((1, 1, 4, 4), 64 / 255 * 2 - 1))
    tokens = grey.upscale(flat, progress=False).tokens
    own = grey.vqvae.encode(torch.full((1, 1, 8, 8), 64 / 255 * 2 - 1))
    assert all(torch.equal(tokens[scale], own[scale]) for scale in range(3))


WRONG = [
    ({"masks": half()[:, :2]}, r"masks must be \(n, 6, 6\) or \(6, 6\), as the images are, got \(1, 2, 6\); resize"),
    ({"masks": half() * 0.5}, "masks must be binary, True or 1 where an image is redrawn, got values from 0 to 0.5; c"),
    ({"masks": half()[:0]}, "a call needs at least one mask, got none; pass one"),
    ({"masks": half(3)}, "all arguments must ask for the same number of images, got images for 2, masks for 3; drop"),
    ({"images": images()[..., :4]}, "images must be 6x6 .height x width., got 6x4; resize or crop them"),
    ({"images": images()[:0]}, "a call needs at least one image to start from, got none; pass some"),
    ({"keep_scales": 4}, r"keep_scales must lie in \[0, 3\], got 4; correct it"),
    ({"keep_scales": -1}, r"keep_scales must lie in \[0, 3\], got -1"),
    ({"keep_scales": 1.5}, "keep_scales must be a whole number, got 1.5"),
    ({"keep_pixels": "no"}, "keep_pixels must be "),
    ({"blend": -1, "keep_pixels": True}, "blend must be at least 0, got -1; raise it"),
    ({"blend": 2}, "blend mixes kept pixels with others, got 2 without keep_pixels; pass it too"),
    ({"blend": 4, "keep_pixels": True}, "blend must be at most half a side of images of 6x6, got 4; lower it"),
    (
        {"masks": half() * 1j},
        "masks must be binary, True or 1 where an image is redrawn, got torch.complex64; pass bools",
    ),
    ({"keep_scale": 1}, "keep_scale is of a search among candidates, got 1 without candidates; .* by keep_scales"),
    (
        {"keep_scales": 2, "keep_scale": 1, "candidates": 2},
        "candidates must differ in a scale that they draw, got keep_scale=1 where .* raise keep_scale",
    ),
    (
        {"keep_scales": 3, "candidates": 2},
        "candidates must .* all keep 3 scales of the image; leave candidates out, or keep fewer",
    ),
    ({"images": []}, "a call needs at least one of its images, got an empty list; pass some"),
    (
        {"images": [images()[0], images()[0].byte()]},
        r"images must be of one type of number, got torch.float32, torch.u",
    ),
    ({"masks": [half()[0], half()[0, :2]]}, r"masks must be of one shape, got \(2, 6\), \(6, 6\); resize them"),
    ({"class_labels": [1, 2, 3]}, "all arguments must ask for the same number of images, got class_labels for 3, imag"),
    ({"class_labels": 7}, r"class labels must lie in \[0, 5\), got 7"),
    ({"vectors": [1.0]}, "the model takes class labels below 5 and no vectors, got vectors"),
    ({"strength": 0.5}, "unknown argument 'strength' of a call"),
    ({"mask": np.zeros((6, 6), bool)}, "unknown argument 'mask' of a call; did you mean 'masks'"),
    ({"keep_pixel": True}, "unknown argument 'keep_pixel' of a call; did you mean 'keep_pixels'"),
]


def test_variations_are_asked_how_many_scales_they_keep(pipe):
    with pytest.raises(UserError) as caught:
        pipe.variations(images(), 1, **QUIET)
    assert str(caught.value) == (
        "variations keep the first keep_scales of the model's 3 scales, got no number; pass one from 0 to 3, as in "
        "keep_scales=1"
    )


def test_an_unknown_argument_is_told_between_processes(pipe):
    with pytest.raises(UserError) as caught:
        pipe.variations(images(), keep_scales=1, keep_scalse=2)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert "did you mean 'keep_scale' or 'keep_scales'" in str(caught.value)


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_input_is_refused(pipe, change, message):
    call = {"images": images(), "masks": half(), "class_labels": None, "progress": False, **change}
    with pytest.raises(UserError, match=rf"\A{message}"):
        pipe.edit(call.pop("images"), call.pop("masks"), call.pop("class_labels"), **call)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (images(1, 6), r"images to upscale must be smaller than 6x6 \(height x width\) and of .*, got 6x6; resize"),
        (images(1, 4)[..., :3], "images to upscale must be smaller than 6x6 .* of the same proportions, got 4x3"),
        (images(1, 1), r"images to upscale must fill the first of the scales \(1, 2, 3\), got 1x1; en"),
        (images(1, 4).repeat(1, 3, 1, 1), r"images must have 1 channel\(s\)"),
    ],
)
def test_images_that_cannot_be_upscaled(pipe, given, message):
    with pytest.raises(UserError, match=message):
        pipe.upscale(given, **QUIET)


def test_a_call_takes_an_edit_as_it_is(pipe):
    edit = Edit(images=images(1).double(), keep_scales=2)
    call = {**QUIET, "seeds": [1]}
    assert torch.equal(pipe(1, edit=edit, **call).images, pipe.variations(images(1), 1, keep_scales=2, **call).images)


def test_two_transformers_edit(pipe):
    both = VARPipeline.collaborate(pipe, pipe, handover=1)
    call = {"seeds": [1, 2, 3], "output_type": "pt", "progress": False, "keep_scales": 2}
    assert torch.equal(both.variations(images(3), 1, **call).images, pipe.variations(images(3), 1, **call).images)


def test_candidates_of_an_edit_keep_what_it_keeps(pipe):
    given, masks = images(2), torch.stack([half()[0], ~half()[0]])
    out = pipe.edit(given, masks, [1, 2], seeds=[1, 2], candidates=3, keep_scale=1, **QUIET)
    own = pipe.vqvae.encode(given)
    for scale, redrawn in enumerate(redrawn_tokens(masks[:, None], pipe.vqvae.scales)):
        assert torch.equal(out.tokens[scale][~redrawn], own[scale][~redrawn])


def test_images_and_masks_may_be_lists_of_arrays(pipe):
    given, masks = images(), [half()[0], ALL]
    call = {"class_labels": [1, 2], "seeds": [1, 2], **QUIET}
    expected = pipe.edit(given, torch.stack(masks), **call).images
    assert torch.equal(pipe.edit(list(given), masks, **call).images, expected)
    arrays = [each.permute(1, 2, 0).numpy() for each in given]
    assert torch.equal(pipe.edit(arrays, tuple(each.numpy() for each in masks), **call).images, expected)
