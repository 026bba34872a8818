"""The pipeline: labels in, images out; who may change what, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny import unet_config

import diffusion_baseline
from diffusion_baseline import DiffusionPipeline, UNet
from diffusion_baseline.diffusion import thresholded
from diffusion_baseline.samplers import sample_ddim, sample_ddpm
from diffusion_baseline.sampling_settings import SamplingSettings
from var.errors import UserError

CONFIG = unet_config()


@pytest.fixture
def pipe():
    torch.manual_seed(0)
    unet = UNet(CONFIG)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return DiffusionPipeline(unet, num_timesteps=20, class_names=["a", "b", "c"])


def images(pipe, *arguments, **settings):
    return pipe(*arguments, **{"output_type": "pt", "progress": False, "num_inference_steps": 5, **settings}).images


def by_hand(pipe, label, seeds, steps=5):
    """DDIM with the network alone: one label, no guidance, v-prediction turned into eps here."""
    noise = torch.cat([torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def denoise(x, t):
        alpha_bar = pipe.schedule.alphas_cumprod[t].float()[:, None, None, None]
        v = pipe.unet(x, t, torch.full_like(t, label))
        return (1 - alpha_bar).sqrt() * x + alpha_bar.sqrt() * v

    with torch.no_grad():
        return (sample_ddim(denoise, noise, pipe.schedule, steps=steps).clamp(-1, 1) + 1) / 2


def test_guidance_one_is_the_conditional_model_and_zero_the_unconditional(pipe):
    seeds = [5, 6]
    torch.testing.assert_close(images(pipe, 1, seeds=seeds, guidance_scale=1), by_hand(pipe, 1, seeds))
    torch.testing.assert_close(images(pipe, 1, seeds=seeds, guidance_scale=0), by_hand(pipe, 3, seeds))
    torch.testing.assert_close(images(pipe, None, seeds=seeds, guidance_scale=2.5), by_hand(pipe, 3, seeds))
    assert not torch.allclose(by_hand(pipe, 1, seeds), by_hand(pipe, 3, seeds), atol=1e-3)


def test_guidance_beyond_one_changes_the_images(pipe):
    off, on = (images(pipe, 1, seeds=[5], guidance_scale=scale) for scale in (1, 2))
    assert not torch.allclose(off, on, atol=1e-3)


def test_prediction_kinds_are_converted(pipe):
    eps_pipe = DiffusionPipeline(pipe.unet, num_timesteps=20, prediction="eps", class_names=["a", "b", "c"])
    x, labels = torch.randn(2, 1, 4, 8), torch.tensor([0, 2])
    noise = torch.cat([torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)])
    with torch.no_grad():
        expected = sample_ddim(lambda x, t: eps_pipe.unet(x, t, labels), noise, eps_pipe.schedule, steps=5)
    sampled = images(eps_pipe, [0, 2], seeds=[1, 2], guidance_scale=1)
    torch.testing.assert_close(sampled, (expected.clamp(-1, 1) + 1) / 2)
    assert x.shape == expected.shape


@pytest.mark.parametrize("settings", [{}, {"eta": 1.0}, {"sampler": "ddpm"}], ids=["ddim", "eta", "ddpm"])
def test_a_batch_of_eight_is_eight_batches_of_one(pipe, settings):
    labels, seeds = [0, 1, 2, 0, 1, 2, 0, 1], list(range(8))
    together = images(pipe, labels, seeds=seeds, **settings)
    for i in range(8):
        alone = images(pipe, [labels[i]], seeds=[seeds[i]], **settings)
        torch.testing.assert_close(alone, together[i : i + 1], atol=2e-5, rtol=0)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    assert torch.equal(images(pipe, labels, generator=generators, **settings), together)
    assert not torch.allclose(together[0], together[3], atol=1e-3)  # one label, two seeds


def test_all_ways_to_ask_for_labels(pipe):
    def labels(*arguments, **settings):
        return pipe(*arguments, num_inference_steps=1, output_type="pt", progress=False, **settings).labels.tolist()

    assert labels() == [3]
    assert labels(num_images=4) == [3] * 4
    assert labels(2) == [2]
    assert labels(2, num_images=3) == [2] * 3
    assert labels([0, 2]) == [0, 2]
    assert labels(torch.tensor([0, 2])) == [0, 2]
    drawn = labels("random", seeds=range(30))
    assert set(drawn) == {0, 1, 2}
    assert labels("random", seeds=[7]) == drawn[7:8]


def test_fresh_seeds_are_returned_and_repeat_the_images(pipe):
    state = torch.get_rng_state()
    first = pipe("random", 3, output_type="pt", progress=False, num_inference_steps=3)
    second = pipe("random", 3, output_type="pt", progress=False, num_inference_steps=3)
    assert first.seeds != second.seeds
    again = pipe("random", seeds=first.seeds, output_type="pt", progress=False, num_inference_steps=3)
    assert torch.equal(again.images, first.images)
    assert torch.equal(torch.get_rng_state(), state)


def test_output_types(pipe):
    settings = {"seeds": [1, 2], "num_inference_steps": 3, "progress": False}
    tensor = pipe([0, 1], output_type="pt", **settings).images
    array = pipe([0, 1], output_type="np", **settings).images
    pictures = pipe([0, 1], **settings).images
    assert tensor.shape == (2, 1, 4, 8)
    assert 0 <= tensor.min() < tensor.max() <= 1
    np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    assert [picture.size for picture in pictures] == [(8, 4)] * 2
    np.testing.assert_allclose(np.asarray(pictures[1]) / 255, array[1, ..., 0], atol=0.5001 / 255)


def test_callback_and_intermediates_follow_the_steps(pipe):
    seen = []
    output = pipe(
        [0, 1],
        seeds=[1, 2],
        num_inference_steps=4,
        output_type="pt",
        progress=False,
        return_intermediates=True,
        callback_on_step_end=lambda index, timestep, x: seen.append((index, timestep, x)),
    )
    assert [(index, timestep) for index, timestep, _ in seen] == [(0, 19), (1, 14), (2, 9), (3, 4)]
    assert len(output.intermediates) == 4
    # The last deterministic step ends at the clean image that it predicts.
    torch.testing.assert_close(output.intermediates[-1], output.images)
    torch.testing.assert_close((seen[-1][2].clamp(-1, 1) + 1) / 2, output.images)
    assert pipe(0, num_inference_steps=1, progress=False).intermediates is None


def test_default_steps_are_all_of_them_for_ddpm_and_at_most_fifty_for_ddim(pipe):
    steps = []
    for sampler in ("ddpm", "ddim"):
        pipe(0, sampler=sampler, progress=False, callback_on_step_end=lambda index, timestep, x: steps.append(timestep))
    assert steps == 2 * list(reversed(range(20)))
    long = DiffusionPipeline(pipe.unet, num_timesteps=1000)
    for sampler, steps in (("ddim", 50), ("ddpm", 1000)):
        assert long._sampler(SamplingSettings(sampler=sampler))[1]["steps"] == steps


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_few_steps_are_spaced_as_asked_for(pipe, sampler):
    steps = []
    settings = {"sampler": sampler, "num_inference_steps": 11, "progress": False}
    for spacing in ({}, {"spacing": "leading"}):
        pipe(0, callback_on_step_end=lambda index, t, x: steps.append(t), **settings, **spacing)
    assert steps[:11] == [19, 17, 15, 14, 12, 10, 8, 6, 4, 3, 1]  # 20 - i 20 / 11, rounded, less 1
    assert steps[11:] == list(reversed(range(11)))
    assert SamplingSettings().keywords()["spacing"] == "trailing"


def test_ddpm_is_the_ancestral_sampler(pipe):
    generator = torch.Generator().manual_seed(9)
    noise = torch.randn(1, 1, 4, 8, generator=generator)

    def denoise(x, t):
        alpha_bar = pipe.schedule.alphas_cumprod[t].float()[:, None, None, None]
        return (1 - alpha_bar).sqrt() * x + alpha_bar.sqrt() * pipe.unet(x, t, torch.full_like(t, 2))

    with torch.no_grad():
        expected = sample_ddpm(denoise, noise, pipe.schedule, generator=generator)
    sampled = images(pipe, 2, seeds=[9], sampler="ddpm", num_inference_steps=None, guidance_scale=1)
    torch.testing.assert_close(sampled, (expected.clamp(-1, 1) + 1) / 2, atol=1e-5, rtol=0)


def test_clipping_keeps_every_predicted_image_in_range(pipe):
    with torch.no_grad():
        pipe.unet.head.bias += 3  # a network that predicts far beyond the range
    x = []
    settings = {"seeds": [1], "callback_on_step_end": lambda index, timestep, now: x.append(now)}
    images(pipe, 0, **settings)
    images(pipe, 0, clip_sample=True, **settings)
    assert x[4].abs().max() > 1
    assert x[9].abs().max() <= 1


def test_a_dynamic_threshold_brings_each_image_into_range_by_its_own_quantile(pipe):
    ramp = torch.linspace(0, 4, 101, dtype=torch.float64)
    images_ = torch.stack([ramp, -ramp / 2, ramp / 8])[:, None, None]
    found = thresholded(images_, 0.75)
    torch.testing.assert_close(found[0, 0, 0], (ramp / 3).clamp(max=1))
    torch.testing.assert_close(found[1, 0, 0], -(ramp / 3).clamp(max=1))
    assert torch.equal(found[2], images_[2])  # it is in range
    assert torch.equal(thresholded(images_[:1], 0.75), found[:1])
    with torch.no_grad():
        pipe.unet.head.bias += 3
    x = []
    images(pipe, [0, 1], seeds=[1, 2], dynamic_threshold=0.9, callback_on_step_end=lambda index, t, now: x.append(now))
    assert x[-1].abs().max() <= 1
    assert x[-1].abs().flatten(1).mean(1).max() < 0.95  # not all of it at the limit
    assert "dynamic_threshold" not in SamplingSettings().keywords()  # images of before were made so
    assert SamplingSettings(dynamic_threshold=0.9).keywords()["dynamic_threshold"] == 0.9


def test_progress_bar_can_be_turned_off(pipe, capsys):
    pipe(0, num_inference_steps=2, progress=False)
    assert capsys.readouterr().err == ""
    pipe(0, num_inference_steps=2)
    assert "ddim" in capsys.readouterr().err


def test_the_networks_mode_is_given_back(pipe):
    pipe.unet.train()
    pipe.unet.down[0].eval()
    before = [module.training for module in pipe.unet.modules()]
    pipe(0, num_inference_steps=1, progress=False)
    assert [module.training for module in pipe.unet.modules()] == before
    assert torch.is_grad_enabled()
    with pytest.raises(KeyboardInterrupt):
        pipe(0, num_inference_steps=1, progress=False, callback_on_step_end=interrupt)
    assert [module.training for module in pipe.unet.modules()] == before


def interrupt(index, timestep, x):
    raise KeyboardInterrupt


def test_save_and_load_is_bit_identical(pipe, tmp_path):
    settings = {"schedule": "linear", "num_timesteps": 9, "prediction": "x0", "class_names": ["x", "y", "z"]}
    linear = DiffusionPipeline(pipe.unet, **settings)
    linear.save_pretrained(tmp_path)
    again = DiffusionPipeline.from_pretrained(tmp_path)
    assert again.settings() == settings
    assert again.class_names == ("x", "y", "z")
    assert torch.equal(again.schedule.betas, linear.schedule.betas)
    assert torch.equal(images(again, [0, 1], seeds=[1, 2]), images(linear, [0, 1], seeds=[1, 2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_labels": 3}, r"labels must lie in \[0, 3\), got 3"),
        ({"class_labels": [0, -1]}, "got -1"),
        ({"class_labels": "cat"}, "got 'cat'"),
        ({"class_labels": torch.tensor([0.5])}, "whole numbers"),
        ({"class_labels": [0, 1], "num_images": 3}, "class_labels for 2, num_images for 3"),
        ({"num_images": 0}, "at least one image"),
        ({"sampler": "ddmp"}, "unknown sampler 'ddmp'; did you mean 'ddpm'"),
        ({"spacing": "trailig"}, "unknown spacing 'trailig'; did you mean 'trailing'"),
        ({"output_type": "pill"}, "unknown output_type 'pill'; did you mean 'pil'"),
        ({"num_inference_steps": 21}, "1 to 20 steps with this schedule, got 21"),
        ({"num_inference_steps": 0}, "got 0"),
        ({"dynamic_threshold": 1.5}, r"dynamic_threshold is a share and must lie in \[0, 1\], got 1.5"),
        ({"eta": -0.1}, "eta must be between 0"),
        ({"eta": 0.5, "sampler": "ddpm"}, "eta is a number of ddim, got 0.5 for ddpm; leave it out"),
        ({"num_images": 3, "generator": [torch.Generator()]}, "each of 3 images, got 1"),
        ({"num_images": 3, "seeds": [1, 2]}, "num_images for 3, seeds for 2"),
        ({"seeds": [1], "generator": torch.Generator()}, "got both"),
    ],
)
def test_bad_requests_are_refused_before_any_work(pipe, arguments, message):
    pipe.unet.forward = None  # would fail otherwise
    with pytest.raises(UserError, match=message):
        pipe(**arguments, progress=False)


def test_bad_settings(pipe):
    with pytest.raises(UserError, match="must name 3 classes, got 2"):
        DiffusionPipeline(pipe.unet, class_names=["a", "b"])
    with pytest.raises(UserError, match="unknown noise schedule 'cosin'; did you mean 'cosine'"):
        DiffusionPipeline(pipe.unet, schedule="cosin")
    with pytest.raises(UserError, match="unknown prediction 'w'"):
        DiffusionPipeline(pipe.unet, prediction="w")


def test_import_is_lazy():
    """That the other paradigm stays unloaded is looked at in tests/test_packaging.py."""
    program = """
import sys
import diffusion_baseline
assert "torch" not in sys.modules
assert dir(diffusion_baseline).count("UNet") == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    with pytest.raises(AttributeError, match="UNett"):
        diffusion_baseline.UNett  # noqa: B018
