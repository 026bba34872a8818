"""Settings that a pipeline is saved with: its calls take them where they say nothing, and records tell them."""

import importlib
import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_partner, tiny_pipeline
from tiny_models import one_line

from diffusion_baseline import CascadePipeline
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSampling
from var import Guidance, VARPipeline
from var.generation.sampling_settings import SamplingSettings
from var.hub.packaged import models_folder
from var.recipes.transformer.presets import transformer_run
from var.sampling.command import LoadedModel
from var.sampling.record import read_record

QUIET = {"output_type": "pt", "progress": False, "seeds": [3, 4]}
LISTED = {"guidance_scale": 4.0, "guidance_schedule": "constant", "temperature": [0.5, 1.0, 2.0]}
STEPS = {"guidance_scale": 3.0, "num_inference_steps": 2, "eta": 0.5}
CASES = {
    "var": (tiny_pipeline, SamplingSettings(**LISTED), {"top_k": 2}),
    "diffusion_baseline": (
        partial(tiny_diffusion_pipeline, timesteps=4),
        DiffusionSampling(**STEPS),
        {"clip_sample": True},
    ),
}
RUNS = {"digits": "digits", "emoji": "emoji-32", "shapes-text": "shapes-text-32"}


@pytest.fixture(params=CASES)
def case(request):
    """A package, a pipeline without advice, settings to recommend to it, and a keyword that they leave alone."""
    build, recommended, keyword = CASES[request.param]
    return request.param, build(), recommended, keyword


def drawn(pipe, **call):
    return pipe([1, 2], **{**QUIET, **call}).images


def test_a_call_takes_what_it_does_not_say(case, tmp_path):
    _, pipe, recommended, keyword = case
    without = drawn(pipe)
    assert pipe.sampling is None
    assert "sampling" not in pipe.settings()
    expected = drawn(pipe, sampling=recommended)
    assert not torch.equal(without, expected)
    identity = pipe.identity
    pipe.sampling = recommended
    assert pipe.identity == identity  # the same images come of it
    pipe.save_pretrained(tmp_path / "pipe")
    pipe.save_single_file(tmp_path / "pipe.safetensors")
    for again in (pipe.from_pretrained(tmp_path / "pipe"), pipe.from_single_file(tmp_path / "pipe.safetensors")):
        assert again.sampling == recommended
        assert torch.equal(drawn(again), expected)
    assert torch.equal(drawn(pipe, guidance_scale=1), drawn(pipe, sampling=recommended, guidance_scale=1))
    assert torch.equal(drawn(pipe, **keyword), drawn(pipe, sampling=recommended, **keyword))
    assert torch.equal(drawn(pipe, sampling=type(recommended)()), without)  # settings leave nothing to the model
    pipe.sampling = None
    assert torch.equal(drawn(pipe), without)


def test_an_object_of_guidance_says_the_schedule_of_its_scale(case):
    _, pipe, recommended, _ = case
    kind = type(recommended)
    pipe.sampling = kind(guidance_scale=4.0, guidance_schedule="linear" if pipe._noisiest else "constant")
    assert torch.equal(drawn(pipe, guidance=Guidance(scale=3)), drawn(pipe, sampling=kind(guidance_scale=3.0)))
    other = {"guidance_schedule": kind().guidance_schedule}
    assert torch.equal(drawn(pipe, guidance=Guidance(schedule=other["guidance_schedule"])), drawn(pipe, **other))
    assert torch.equal(drawn(pipe, **other), drawn(pipe, sampling=kind(guidance_scale=4.0)))


def test_steps_and_eta_are_of_their_sampler():
    pipe = tiny_diffusion_pipeline(timesteps=6)
    all_steps = drawn(pipe, sampler="ddpm", guidance_scale=3)
    pipe.sampling = DiffusionSampling(**STEPS)
    assert torch.equal(drawn(pipe, sampler="ddpm"), all_steps)
    assert torch.equal(drawn(pipe, sampler="ddim"), drawn(pipe))


def test_edits_and_two_that_collaborate_take_it():
    large = tiny_pipeline()
    small = tiny_partner(large)
    large.sampling = recommended = SamplingSettings(**LISTED)
    images = torch.zeros(1, 1, *large.image_shape[1:])
    edits = [large.variations(images, 1, keep_scales=1, **QUIET, **call).images for call in ({}, {"temperature": 1.0})]
    assert torch.equal(edits[0], large.variations(images, 1, keep_scales=1, sampling=recommended, **QUIET).images)
    assert not torch.equal(*edits)
    assert VARPipeline.collaborate(large, small, handover=2).sampling == recommended


def test_damaged_advice_is_refused(case, tmp_path):
    package, pipe, recommended, _ = case
    pipe.sampling = recommended
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "pipeline_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    wrong = {"temperature": [1.0]} if package == "var" else {"num_inference_steps": 5}
    for place, (change, told) in enumerate(
        (
            ({"guidence_scale": 2}, "has no field 'guidence_scale'; did you mean 'guidance_scale'"),
            ({"guidance_scale": "2"}, "'guidance_scale' must be a finite number.*, got '2'"),
            ({"guidance_scale": 1e31}, r"guidance_scale must lie within 1e\+30"),
            (wrong, "(temperature must be one for all or a list|sampling takes 1 to 4 steps)"),
            (None, "sampling must be the SamplingSettings of this pipeline or None for no advice, got 5"),
        )
    ):
        own = 5 if change is None else index["settings"]["sampling"] | change
        path.write_text(json.dumps({**index, "settings": {**index["settings"], "sampling": own}}), encoding="utf-8")
        if place % 2 == 0:  # the rest is the same, and loading takes long
            with one_line(f"{path}: .*{told}"):
                pipe.from_pretrained(tmp_path)
        with one_line(f".*{told}"):
            pipe.sampling = own
    assert pipe.sampling == recommended


def test_the_command_line_leaves_to_the_model_what_is_not_given(case, tmp_path, capsys):
    package, pipe, recommended, _ = case
    pipe.sampling = recommended
    pipe.save_pretrained(tmp_path / "pipe")
    main = importlib.import_module(f"{package}.cli").main

    def record(*options):
        words = ["generate", "--model", tmp_path / "pipe", "--output", tmp_path / "out", "--device", "cpu", "--quiet"]
        assert main([*map(str, words), "--overwrite", *options]) == 0
        return read_record(tmp_path / "out" / "0.png")

    told = json.loads(json.dumps(recommended.keywords()))
    assert record().items() >= told.items()
    other = {"guidance_scale": 2.0, "guidance_schedule": "linear"}
    options = ["--guidance", "2", "--guidance-schedule", "linear"]
    assert record(*options).items() >= (told | other).items()
    capsys.readouterr()
    assert main(["generate", "--help"]) == 0
    assert "what is not given is as the model itself recommends" in " ".join(capsys.readouterr().out.split())


def test_of_a_cascade_each_part_takes_its_own():
    small = tiny_diffusion_pipeline(timesteps=4, image_size=(2, 4))
    large = tiny_diffusion_pipeline(timesteps=4, small_size=(2, 4), small_noise=0.5)
    small.sampling, large.sampling = DiffusionSampling(**STEPS), DiffusionSampling(num_inference_steps=3)
    steps = []
    CascadePipeline(small, large)([1, 2], callback_on_step_end=lambda index, t, x: steps.append(t), **QUIET)
    assert len(steps) == 3
    about = {"num_classes": 5, "image_shape": (1, 4, 8), "class_names": None, "record": {}}
    about |= {"pipeline": None, "sampling": DiffusionSampling}
    parts = [LoadedModel(recommended=each.sampling, **about) for each in (small, large)]
    told = replace(parts[0], goes_on=parts[1]).told({"guidance_scale": 2.0})
    assert [told[name] for name in ("guidance_scale", "then_guidance_scale")] == [2.0, 2.0]
    assert [told[name] for name in ("num_inference_steps", "then_num_inference_steps")] == [2, 3]
    assert replace(parts[0], goes_on=parts[0]).told({}) == small.sampling.keywords()


def test_models_that_come_along_recommend_what_their_runs_do():
    for package, run_of in (("var", transformer_run), ("diffusion_baseline", diffusion_run)):
        for path in models_folder(package).glob("*/pipeline_index.json"):
            settings = run_of(RUNS[path.parent.name]).sampling
            found = json.loads(path.read_text(encoding="utf-8"))["settings"]["sampling"]
            assert found == json.loads(json.dumps(settings.keywords())), path


def test_shapes_in_words_are_drawn_as_they_must_be():
    pipe = VARPipeline.from_pretrained("next-scale/shapes-text")
    vectors = torch.randn(1, pipe.transformer.config.vector_width, generator=torch.Generator().manual_seed(0))
    vectors /= vectors.norm()  # as those of texts are
    asked = {"vectors": vectors, "seeds": [0], "output_type": "pt", "progress": False}
    assert torch.equal(pipe(**asked).images, pipe(guidance_scale=3, temperature=[0.3] * 5 + [0.7], **asked).images)
    assert not torch.equal(pipe(**asked).images, pipe(guidance_scale=1.5, temperature=1.0, **asked).images)
