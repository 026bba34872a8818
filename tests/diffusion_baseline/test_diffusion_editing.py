"""In-painting and variations: against a closed form, against calls without images, and what is refused."""

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_unet

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.diffusion import add_noise
from diffusion_baseline.editing import Edit, Known, stretches
from diffusion_baseline.samplers import SAMPLERS, find_sampler, sample_dpmpp
from diffusion_baseline.schedules import Estimate, StraightSchedule, cosine_schedule, linear_schedule
from diffusion_baseline.stepping import Walk
from var.errors import UserError
from var.images import format_images, to_pil

QUIET = {"output_type": "pt", "progress": False, "num_inference_steps": 2}
ALL = torch.ones(4, 8, dtype=torch.bool)
NONE = ~ALL


@pytest.fixture(scope="module")
def pipe():
    return tiny_diffusion_pipeline(["ant", "bee", "cat", "dog", "eel"])


@pytest.fixture(scope="module")
def straight():
    torch.manual_seed(0)
    return DiffusionPipeline(tiny_diffusion_pipeline().unet, schedule="straight", num_timesteps=20, prediction="flow")


def images(count=2, seed=3):
    """In [-1, 1]; shares of 2^-24 come back to the bit from either range."""
    return 2 * torch.rand(count, 1, 4, 8, generator=torch.Generator().manual_seed(seed)) - 1


def half(count=1):
    masks = torch.zeros(count, 4, 8, dtype=torch.bool)
    masks[:, :, 4:] = True
    return masks


def gaussian(covariance, schedule):
    """Exact prediction for rows of pixels that are normal with this covariance."""

    def denoise(x, t):
        signal, noise = (level.item() for level in schedule.levels(int(t[0])))
        noisy = signal**2 * covariance + noise**2 * torch.eye(len(covariance), dtype=torch.float64)
        image = x @ (signal * torch.linalg.solve(noisy, covariance))
        return Estimate(image, (x - signal * image) / noise)

    return denoise


def painted(sampler, covariance, kept, schedule, *, steps, count=3000, **settings):
    """The last pixels of each row, drawn for what its first ones are: an image of so many rows."""
    given = torch.zeros(1, 1, count, len(covariance), dtype=torch.float64)
    given[..., : len(kept)] = kept
    masks = torch.ones_like(given, dtype=torch.bool)
    masks[..., : len(kept)] = False
    edit = Edit(images=given, masks=masks, strength=1.0, **settings)
    paint, options = edit.around(find_sampler(sampler), {"steps": steps, "spacing": "trailing"}, schedule, [0])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(given.shape, dtype=torch.float64, generator=generator)
    x = paint(gaussian(covariance, schedule), noise, schedule, generator=[generator], **options)
    assert torch.equal(x[~masks], given[~masks])
    return x[0, 0, :, len(kept) :]


CURVED, STRAIGHT = cosine_schedule(200), StraightSchedule(200)


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [("ddpm", STRAIGHT), ("ddim", CURVED), ("dpmpp", CURVED), ("heun", STRAIGHT), ("euler", STRAIGHT)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_painted_has_the_conditional_moments(sampler, schedule):
    places = torch.arange(4, dtype=torch.float64)
    covariance = 0.3**2 * 0.9 ** (places[:, None] - places).abs()
    kept = torch.tensor([0.4, 0.3], dtype=torch.float64)
    slopes = covariance[2:, :2] @ torch.linalg.inv(covariance[:2, :2])
    mean = slopes @ kept  # .27 and .243; without regard to what is kept it is 0
    deviation = (covariance[2:, 2:] - slopes @ covariance[:2, 2:]).diag().sqrt()  # .131 and .176; without it .3
    x = painted(sampler, covariance, kept, schedule, steps=25, resampling=4)
    # Five standard errors of 3000 draws are .016 of the mean and 6 % of the deviation. The rest is that resampling has
    # not settled after 4 times, and that there are 25 steps.
    torch.testing.assert_close(x.mean(0), mean, atol=0.016 + 0.03, rtol=0)
    torch.testing.assert_close(x.std(0), deviation, atol=0, rtol=0.06 + 0.2)


def test_resampling_brings_the_mean_nearer():
    covariance, kept = 0.09 * torch.tensor([[1, 0.9], [0.9, 1]], dtype=torch.float64), torch.tensor([0.4])
    errors = []
    for resampling, jump in ((1, 1), (3, 2), (6, 1)):
        x = painted("ddim", covariance, kept, cosine_schedule(100), steps=20, resampling=resampling, jump=jump)
        errors.append(abs(x.mean().item() - 0.9 * 0.4))
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]


@pytest.mark.parametrize("settings", [{}, {"sampler": "ddpm"}, {"sampler": "dpmpp"}])
def test_a_whole_mask_is_a_call_without_an_image(pipe, settings):
    call = {**QUIET, **settings, "seeds": [5, 6]}
    expected = pipe([1, 2], **call).images
    assert torch.equal(pipe.edit(images(), ALL, [1, 2], **call).images, expected)
    # Beside an image of which something is kept.
    masks = torch.stack([ALL, half()[0]])
    both = pipe.edit(images(), masks, [1, 2], **call)
    assert torch.equal(both.images[0], expected[0])
    assert (both.labels.tolist(), both.seeds, both.intermediates) == ([1, 2], [5, 6], None)
    alone = pipe.edit(images()[1:], masks[1:], [2], **{**call, "seeds": [6]})
    torch.testing.assert_close(alone.images[0], both.images[1], atol=2e-5, rtol=0)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_what_is_kept_comes_out_as_it_was_given(pipe, straight, sampler):
    given, masks = images(3), torch.stack([half()[0], NONE, ALL])
    for model, strength in ((pipe, 1.0), (straight, 0.4)):
        call = {
            **QUIET,
            "seeds": [1, 2, 3],
            "strength": strength,
            "resampling": 2,
            "sampler": sampler,
        }
        out = model.edit(given, masks, [0, 1, 2], **call).images
        kept = ~masks[:, None]
        assert torch.equal(out[kept], format_images(given, "pt")[kept])
        assert not torch.allclose(out[0, ..., 4:], format_images(given, "pt")[0, ..., 4:], atol=1e-2)


def test_every_form_of_images_comes_back(pipe):
    levels = torch.randint(256, (2, 1, 4, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    shares = levels / 255
    array = shares.permute(0, 2, 3, 1).numpy()
    pictures = to_pil(levels / 127.5 - 1)
    for given in (levels, shares, array, levels.permute(0, 2, 3, 1).numpy(), pictures):
        for masks in (NONE.numpy(), half(2)):
            call = {**QUIET, "num_inference_steps": 1, "resampling": 1, "seeds": [1, 2]}
            kept = (slice(None), slice(None), slice(None), slice(0, 4))
            assert torch.equal(pipe.edit(given, masks, **call).images[kept], shares[kept])
            drawn = pipe.edit(given, masks, **{**call, "output_type": "np"}).images
            np.testing.assert_array_equal(drawn[:, :, :4], array[:, :, :4])
            drawn = pipe.edit(given, masks, **{**call, "output_type": "pil"}).images
            for picture, before in zip(drawn, pictures, strict=True):
                np.testing.assert_array_equal(np.asarray(picture)[:, :4], np.asarray(before)[:, :4])


def test_pictures_of_other_modes_are_converted(pipe):
    grey = to_pil(images(2))
    call = {"masks": half(), "seeds": [1, 2], **QUIET}
    expected = pipe.edit(grey, **call).images
    for mode in ("RGB", "RGBA", "P"):
        assert torch.equal(pipe.edit([each.convert(mode) for each in grey], **call).images, expected)


def test_one_image_or_mask_stands_for_all(pipe):
    call = {**QUIET, "seeds": [1, 2, 3]}
    one = pipe.edit(images(1), half(), 2, **call).images
    assert torch.equal(one, pipe.edit(images(1).expand(3, -1, -1, -1), half(3), [2] * 3, **call).images)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 3
    assert len(pipe.edit(images(1), half(2), **QUIET).images) == 2
    assert len(pipe.variations(images(1), num_images=2, **QUIET).images) == 2
    assert len(pipe.variations(to_pil(images(1))[0], **QUIET).images) == 1


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_a_variation_begins_at_the_level_that_it_says(pipe, straight, monkeypatch, spacing):
    for model in (pipe, straight):
        seen = []
        network = model.unet.forward
        monkeypatch.setattr(model.unet, "forward", lambda x, t, c, f=network, s=seen: (s.append((x, t)), f(x, t, c))[1])
        call = {**QUIET, "num_inference_steps": 10, "seeds": [5, 6], "guidance_scale": 1, "spacing": spacing}
        out = model.variations(images(), [1, 2], strength=0.6, **call).images
        times = [t.tolist() for _, t in seen]
        begin = 11 if spacing == "trailing" else 10  # 12 of 20 timesteps in 6 of 10 steps, 2 apart
        assert times == [[t, t] for t in range(begin, -1, -2)]
        noise = torch.cat([torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
        assert torch.equal(seen[0][0], add_noise(images(), noise, begin, model.schedule))
        assert not torch.allclose(out, model.variations(images(), [1, 2], strength=0.2, **call).images)


def test_variations_at_full_strength_are_calls_without_images(pipe):
    call = {**QUIET, "seeds": [5, 6]}
    assert torch.equal(pipe.variations(images(), [1, 2], strength=1, **call).images, pipe([1, 2], **call).images)
    steps = []  # one step from the least noise is left at the least strength
    pipe.variations(images(), strength=0.01, callback_on_step_end=lambda index, t, x: steps.append(t), **call)
    assert steps == [0]


def test_jumps_go_through_each_stretch_as_often_as_asked_for():
    levels = [9, 7, 5, 3, 1, -1]
    assert stretches(levels, 1, 1) == stretches(levels, 3, 1) == levels
    assert stretches(levels, 2, 2) == [9, 7, 5, 9, 7, 5, 3, 1, 5, 3, 1, -1, 1, -1]
    assert stretches(levels, 9, 3) == 3 * levels


def test_noise_added_on_the_way_up_gives_the_marginals():
    for schedule in (linear_schedule(10), linear_schedule(10).zero_terminal(), StraightSchedule(10)):
        for earlier, later in ((-1, 0), (-1, 9), (2, 7), (8, 9)):
            ratio, variance = schedule.transition(earlier, later)
            (signal, noise), (signal_before, noise_before) = schedule.levels(later), schedule.levels(earlier)
            torch.testing.assert_close(ratio * signal_before, signal)
            torch.testing.assert_close((ratio * noise_before) ** 2 + variance, noise**2)


def test_a_solver_with_a_memory_forgets_it_in_a_jump():
    schedule, x = cosine_schedule(20), torch.randn(2, 3, dtype=torch.float64)

    def toy(x, t):
        return 0.3 * x + 0.1 * x.sin()

    def walk(*timesteps):
        steps = Walk(timesteps, lambda x, t: start if t == 15 else x)
        return sample_dpmpp(toy, start, schedule, spacing=steps, generator=torch.Generator())

    start = x
    torch.testing.assert_close(walk(15, 10, 5, 15, 10, 5, -1), walk(15, 10, 5, -1), rtol=0, atol=0)


def test_what_is_kept_has_noise_of_its_own(pipe):
    edit = Edit(images=images(1).double(), masks=half()[:, None], strength=1.0)
    x = torch.zeros(2, 1, 4, 8)
    known = Known(edit, pipe.schedule, [1, 2])
    first, second = known(x, 10), known(x, 10)
    assert not torch.allclose(first[..., :4], second[..., :4])
    assert not torch.allclose(first[0, ..., :4], first[1, ..., :4])
    assert torch.equal(first[..., 4:], x[..., 4:])
    assert torch.equal(known(x, -1)[..., :4], images(1)[..., :4].expand(2, -1, -1, -1))
    torch.testing.assert_close(Known(edit, pipe.schedule, [2])(x[:1], 10), first[1:])


WRONG = [
    ({"masks": half()[:, :2]}, r"masks must be \(n, 4, 8\) or \(4, 8\), as the images are, got \(1, 2, 8\); resize"),
    (
        {"masks": half() * 0.5},
        "masks must be binary, True or 1 where an image is redrawn, got values from 0 to 0.5; comp",
    ),
    ({"masks": half().byte() * 255}, "masks must be binary, .* got values from 0 to 255"),
    ({"masks": torch.full((4, 8), torch.nan)}, "masks must be binary, .* got values from nan to nan"),
    ({"masks": half()[:0]}, "a call needs at least one mask, got none; pass one"),
    ({"masks": half(3)}, "all arguments must ask for the same number of images, got images for 2, masks for 3; drop"),
    ({"masks": None}, "masks must be pictures, an array or a tensor, got NoneType; convert them"),
    ({"masks": np.array(["x"])}, "masks must be an array of numbers, got <U1; convert it"),
    ({"images": images()[..., :6]}, "images must be 4x8 .height x width., got 4x6; resize or crop them"),
    ({"images": images().expand(2, 3, 4, 8)}, r"images must have 1 channel\(s\) as second axis, got 3"),
    ({"images": 3 * images()}, r"images must lie in \[-1, 1\], got values from "),
    ({"images": images() * torch.nan}, "images must be finite, got NaN"),
    ({"images": images()[0]}, r"images must be \(batch, channels, height, width\), got shape \(1, 4, 8\); add"),
    ({"images": images()[:0]}, "a call needs at least one image to start from, got none; pass some"),
    ({"images": images().long()}, r"images must be float in \[-1, 1\], got torch.int64; convert"),
    ({"images": [3, 4]}, "images must be pictures, an array or a tensor, got list; convert them"),
    (
        {"images": [*to_pil(images(1)), *to_pil(images(1)[..., :6])]},
        r"images must be pictures of one size \(height x width\), got 4x6, 4x8; resize them",
    ),
    ({"strength": 0}, r"strength must lie in \(0, 1\], where 1 begins with noise, got 0; correct it"),
    ({"strength": 1.5}, r"strength must lie in \(0, 1\], .* got 1.5"),
    ({"strength": float("nan")}, "strength must be a finite number, got nan"),
    ({"strength": "much"}, "strength must be a finite number, got 'much'"),
    ({"resampling": 0}, "resampling must be at least 1, got 0; raise it"),
    ({"jump": 1.5}, "jump must be a whole number, got 1.5"),
    (
        {"class_labels": [1, 2, 3]},
        "all arguments must ask for the same number of images, got class_labels for 3, images",
    ),
    ({"class_labels": 7}, r"class labels must lie in \[0, 5\), got 7"),
    ({"seeds": [1]}, "all arguments must ask for the same number of images, got seeds for 1, images for 2"),
    ({"vectors": [1.0]}, "the model takes class labels below 5 and no vectors, got vectors"),
    ({"prompt": "a cat"}, "the model takes class labels below 5 and no vectors, got a prompt"),
    ({"steps": 5}, "unknown argument 'steps' of a call; did you mean 'num_inference_steps'"),
    ({"strenght": 0.5}, "unknown argument 'strenght' of a call; did you mean 'strength'"),
]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_input_is_refused(pipe, change, message):
    call = {"images": images(), "masks": half(), "class_labels": None, "progress": False, **change}
    with pytest.raises(UserError, match=rf"\A{message}"):
        pipe.edit(call.pop("images"), call.pop("masks"), call.pop("class_labels"), **call)


def test_a_model_without_classes_is_asked_for_none():
    pipe = DiffusionPipeline(tiny_unet(num_classes=0, vector_width=3), num_timesteps=20)
    with pytest.raises(UserError, match="the model takes vectors of width 3 and no class labels, got class labels"):
        pipe.edit(images(), half(), 1, progress=False)
    assert pipe.edit(images(), half(), vectors=[1.0, 0.0, 0.0], **QUIET).images.shape == (2, 1, 4, 8)


def test_a_model_of_latents_is_refused(pipe, monkeypatch):
    monkeypatch.setattr(pipe, "codec", object())
    with pytest.raises(UserError, match="images are edited where pixels are diffused, got a model of latents; use one"):
        pipe.variations(images(), **QUIET)


def test_average_velocities_are_those_of_whole_descents():
    pipe = DiffusionPipeline(tiny_unet(interval=True), schedule="straight", num_timesteps=20, prediction="meanflow")
    with pytest.raises(UserError, match=r"average velocities are those of whole descents, got strength=0\.5; c"):
        pipe.variations(images(), **QUIET)
    call = {**QUIET, "seeds": [1, 2]}
    assert torch.equal(pipe.edit(images(), ALL, **call).images, pipe(**call).images)
    assert pipe.variations(images(), sampler="heun", **call).images.shape == (2, 1, 4, 8)


def test_a_sampler_without_a_place_for_it_is_refused_by_name(pipe, monkeypatch):
    def sample_leap(denoise, noise, schedule, *, steps=1, generator=None, on_step=None):
        return noise

    monkeypatch.setattr("diffusion_baseline.denoising.find_sampler", lambda name: sample_leap)
    with pytest.raises(UserError, match=r"in-painting changes the image between steps, .* sample_leap has"):
        pipe.edit(images(), half(), **QUIET)
    assert pipe.variations(images(), **QUIET).images.shape == (2, 1, 4, 8)
