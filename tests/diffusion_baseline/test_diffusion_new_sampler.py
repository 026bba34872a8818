"""A sampler from outside is one function and one row: the pipeline, the command line and the comparison know it."""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from comparison.sampling import Asked, draw, settings_of
from comparison.settings import comparison
from PIL import Image

from diffusion_baseline import DiffusionPipeline, UNet, UNetConfig
from diffusion_baseline.cli import main
from diffusion_baseline.samplers import SAMPLERS
from diffusion_baseline.sampling_settings import SamplingSettings
from var.errors import UserError


def sample_leap(denoise, noise, schedule, *, steps=3, eta=0.0, generator=None, on_step=None):
    """One leap from the noise to the clean image, told as `steps` steps."""
    t = schedule.num_timesteps - 1
    for index in range(steps):
        on_step(index, t, noise)
    signal, spread = schedule.signal_and_noise(t, noise)
    return (noise - spread * denoise(noise, torch.full((len(noise),), t))) / signal + eta


@pytest.fixture
def leap(monkeypatch):
    module = ModuleType("leap")
    module.sample_leap = sample_leap
    monkeypatch.setitem(sys.modules, "leap", module)
    monkeypatch.setitem(SAMPLERS, "leap", "leap")


@pytest.fixture
def pipe(leap):
    torch.manual_seed(0)
    small = {"base_channels": 8, "multipliers": (1,), "residual_blocks": 1, "embedding_width": 8, "norm_groups": 4}
    config = UNetConfig(num_classes=3, image_size=(4, 4), image_channels=1, attention_levels=(), **small)
    return DiffusionPipeline(UNet(config), num_timesteps=9, prediction="eps")


def test_the_pipeline_draws_with_it(pipe):
    seen = []
    call = {"seeds": [5], "sampler": "leap", "output_type": "pt", "progress": False}
    drawn = pipe([1], callback_on_step_end=lambda index, t, x: seen.append((index, t)), **call)
    assert seen == [(0, 8), (1, 8), (2, 8)]
    noise = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    signal, _ = pipe.schedule.signal_and_noise(8, noise)
    # The untrained network predicts no noise at all.
    torch.testing.assert_close(drawn.images, ((noise / signal).clamp(-1, 1) + 1) / 2)
    moved = pipe([1], eta=0.5, **call).images
    torch.testing.assert_close(moved, ((noise / signal + 0.5).clamp(-1, 1) + 1) / 2)


def test_the_command_line_knows_it(pipe, tmp_path, capsys):
    pipe.save_pretrained(tmp_path / "pipe")
    command = ["generate", "--model", str(tmp_path / "pipe"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--quiet", "--classes", "1", "--seeds", "5", "--sampler", "leap"]) == 0
    picture = pipe([1], seeds=[5], sampler="leap", progress=False).images[0]
    with Image.open(tmp_path / "out" / "5.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(picture))
    capsys.readouterr()
    assert main([*command, "--sampler", "leep"]) == 2
    assert "unknown value 'leep'; did you mean 'leap'" in capsys.readouterr().err


def test_it_is_compared_by_one_row_more(pipe):
    plan = comparison("digits")
    row = SamplingSettings(sampler="leap", num_inference_steps=2, guidance_scale=1.1)
    model = plan.models["diffusion"]
    more = replace(plan, models={"diffusion": replace(model, sweep=(*model.sweep, row))})
    settings = settings_of(more, "diffusion")
    assert settings[:-1] == settings_of(plan, "diffusion")
    last = settings[-1]
    assert (last.model, last.sampler, last.steps, last.headline) == ("diffusion", "leap", 2, False)
    assert draw(pipe, last, Asked(torch.tensor([0, 1])), seed=0).shape == (2, 1, 4, 4)


def test_without_the_row_it_is_unknown():
    with pytest.raises(UserError, match="unknown sampler 'leap'; choose one of 'ddim', 'ddpm'"):
        SamplingSettings(sampler="leap")
