"""What `print` shows of pipelines and of what they give: a line, in both paradigms."""

import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.cascade import CascadePipeline

MAKERS = {"VARPipeline": (tiny_pipeline, "6x6", 3), "DiffusionPipeline": (tiny_diffusion_pipeline, "4x8", None)}
QUIET = {"progress": False}


def parameters(*models):
    return sum(each.numel() for model in models for each in model.parameters())


@pytest.mark.parametrize("name", MAKERS)
def test_a_pipeline_says_what_it_is(name):
    make, size, _ = MAKERS[name]
    pipe = make()
    number = parameters(*pipe.models().values())
    assert number < 1e6
    size_of = f"{number / 1000:.3g}k" if number > 9999 else str(number)
    assert repr(pipe) == f"{name}({size} images of 1 channel, 5 classes, {size_of} parameters)"
    assert "vectors of width 6, " in repr(make(num_classes=0, vector_width=6))
    assert "classes" not in repr(make(num_classes=0, vector_width=6))
    read = make(num_classes=0, vector_width=6)
    read._reader._wanted = {"name": "words:a,b", "digest": "0"}
    assert f"{size} images of 1 channel, prompts read by words:a,b, " in repr(read)


def test_a_pipeline_of_parts_that_do_not_fit_can_be_shown():
    pipe = tiny_pipeline()
    pipe.vqvae = torch.nn.Linear(1, 1)
    assert repr(pipe).startswith("VARPipeline(vqvae must be a Tokenizer, got Linear")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("output_type", ["pil", "pt", "np"])
def test_an_output_says_how_many_images_and_no_numbers_of_theirs(name, output_type):
    make, size, scales = MAKERS[name]
    steps = {} if scales else {"num_inference_steps": 2}
    about = f"{scales} scales, " if scales else ""
    kind = name.replace("Pipeline", "Output")
    out = make()(1, seeds=[7], output_type=output_type, **steps, **QUIET)
    assert repr(out) == f"{kind}(1 image of {size}, {about}seeds 7)"
    out = make()(1, seeds=range(6), output_type=output_type, **steps, **QUIET)
    assert repr(out) == f"{kind}(6 images of {size}, {about}seeds 0, 1, 2, 3 and 2 more)"


def test_a_cascade_is_told_as_what_it_makes():
    small = tiny_diffusion_pipeline(image_size=(2, 4))
    large = tiny_diffusion_pipeline(small_size=(2, 4), small_noise=0.5)
    assert isinstance(small, DiffusionPipeline)
    pipe = CascadePipeline(small, large)
    size = f"{parameters(small.unet, large.unet) / 1000:.3g}k"
    assert repr(pipe) == f"CascadePipeline(4x8 images of 1 channel, 5 classes, {size} parameters)"
    out = pipe(1, seeds=[3], num_inference_steps=2, **QUIET)
    assert repr(out) == "CascadeOutput(1 image of 4x8, seeds 3)"
