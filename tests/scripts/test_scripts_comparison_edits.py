"""The same edit by all models in a comparison's report: which of them edit, and what is shown of it."""

import torch
from comparison.families import FAMILIES
from comparison.families.pipeline import FamilyPipeline
from comparison.report.edits import edits_figure, right_half
from tiny import tiny_diffusion_pipeline, tiny_pipeline

from diffusion_baseline.editing import paints
from diffusion_baseline.samplers import SAMPLERS
from diffusion_baseline.sampling_settings import SamplingSettings


def test_models_edit_where_their_call_does():
    pipe = tiny_diffusion_pipeline(timesteps=3)
    images = pipe([1, 2], seeds=[0, 1], output_type="pt", progress=False).images
    for name in SAMPLERS:
        sampling = SamplingSettings(sampler=name, num_inference_steps=2)
        pipe.edit(images, right_half(images), [1, 2], seeds=[0, 1], sampling=sampling, progress=False)
        assert FAMILIES["diffusion"].edits(pipe, sampling), name
    assert not paints(lambda denoise, noise, schedule, *, steps: noise)
    assert FAMILIES["var"].edits(tiny_pipeline(), None)
    assert not FAMILIES["vae"].edits(FamilyPipeline, None)


def test_half_of_each_image_is_kept_in_edits():
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    mask = right_half(images)
    assert mask[:, :4].sum() == 0
    assert mask[:, 4:].all()
    assert edits_figure(images, {}) == []
    (found,) = edits_figure(images, {"VAR": images, "Diffusion": -images})
    assert 'alt="Columns of a real image, its left half, and 2 edits of it."' in str(found)
