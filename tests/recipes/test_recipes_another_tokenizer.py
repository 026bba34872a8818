"""A tokenizer from outside: stage 2 is trained on it, and its pipelines generate, are saved and are loaded."""

import json

import pytest
import torch
from grey_pyramid import GreyConfig, GreyPyramid

from var import VAR, VARConfig, VARPipeline
from var.data import digits
from var.errors import UserError
from var.randomness import keyed_global_stream
from var.recipes.fine_tuning import load_start, load_tokenizer
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.training import TrainingConfig, train

QUIET = {"output_type": "pt", "progress": False}


@pytest.fixture(scope="module")
def data():
    return digits("train")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A pipeline after some steps on cached tokens, with its losses."""
    tokenizer = GreyPyramid(GreyConfig())
    with keyed_global_stream("weights", 0):
        model = VAR(
            VARConfig(sides=(1, 2, 4, 8), vocabulary=33, code_width=1, num_classes=10, depth=2, width=32, heads=2)
        )
    cache = TokenCache.of(data, tokenizer, folder=tmp_path_factory.mktemp("cache") / "tokens", progress=False)
    config = TrainingConfig(steps=24, batch_size=32, learning_rate=3e-3, log_every=8, seed=0)
    task = TransformerTask(model, tokenizer, cache=cache)
    history = train(task, data, config, progress=False, device="cpu").history
    return VARPipeline(tokenizer, model), [row["loss"] for row in history], cache


def test_its_own_arithmetic(data):
    """Every scale rounds what is left to the nearest of levels that lie 1/8 apart."""
    tokenizer, images = GreyPyramid(GreyConfig()), data.images[:50]
    token_maps = tokenizer.encode(images)
    assert [tuple(token_map.shape) for token_map in token_maps] == [(50, 1, 1), (50, 2, 2), (50, 4, 4), (50, 8, 8)]
    assert (tokenizer.reconstruct(images) - images).abs().max() <= 1 / 16 + 1e-6
    inputs = tokenizer.teacher_inputs(token_maps)
    assert inputs.shape == (50, 4 + 16 + 64, 1)
    mean = images.mean(dim=(1, 2, 3))
    assert (inputs[:, :4, 0] - mean[:, None]).abs().max() <= 1 / 16 + 1e-6
    with pytest.raises(UserError, match=r"tokens must lie in \[0, 33\), got 33 to 33 at scale 0"):
        tokenizer.decode([torch.full((1, 1, 1), 33)])


def test_its_tokens_are_cached(trained, data):
    _, _, cache = trained
    tokens = GreyPyramid(GreyConfig()).scales.flatten(GreyPyramid(GreyConfig()).encode(data.images))
    assert torch.equal(cache.tokens[0].long(), tokens)


def test_the_transformer_learns_from_it(trained):
    _, losses, _ = trained
    assert losses[-1] < losses[0] - 0.5


def test_its_pipeline_generates(trained):
    pipe, _, _ = trained
    out = pipe([3, 7, 7], guidance_scale=2.0, min_p=0.05, seeds=[0, 1, 2], return_intermediates=True, **QUIET)
    assert out.images.shape == (3, 1, 8, 8)
    assert len(out.intermediates) == 4
    torch.testing.assert_close(out.images, (pipe.vqvae.decode(out.tokens) + 1) / 2)
    alone = pipe([7], guidance_scale=2.0, min_p=0.05, seeds=[2], **QUIET)
    assert torch.equal(out.images[2], alone.images[0])
    assert not torch.equal(out.images, pipe([3, 7, 7], smooth=True, seeds=[0, 1, 2], **QUIET).images)


@torch.no_grad()
def test_its_images_have_likelihoods(trained, data):
    pipe, _, _ = trained
    images, labels = data.images[:8], data.labels[:8]
    tokens = pipe.vqvae.scales.flatten(pipe.vqvae.encode(images))
    logits = pipe.transformer(labels, pipe.vqvae.teacher_inputs(pipe.vqvae.encode(images)))
    expected = logits.log_softmax(-1).gather(-1, tokens[..., None]).sum(dim=(1, 2))
    torch.testing.assert_close(pipe.log_likelihood(images, labels), expected)


def test_its_pipeline_is_saved_and_loaded(trained, tmp_path):
    pipe, _, _ = trained
    pipe.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "pipeline_index.json").read_text())["parts"]["vqvae"] == "GreyPyramid"
    loaded = VARPipeline.from_pretrained(tmp_path)
    assert isinstance(loaded.vqvae, GreyPyramid)
    assert torch.equal(loaded([1, 2], seeds=[0, 1], **QUIET).images, pipe([1, 2], seeds=[0, 1], **QUIET).images)
    assert isinstance(load_tokenizer(str(tmp_path), sides=()), GreyPyramid)
    assert isinstance(load_start(str(tmp_path)).vqvae, GreyPyramid)


def test_a_tokenizer_that_nobody_imported_is_refused(trained, tmp_path):
    trained[0].save_pretrained(tmp_path)
    index = tmp_path / "pipeline_index.json"
    index.write_text(index.read_text().replace("GreyPyramid", "Stranger"))
    with pytest.raises(
        UserError, match=r"of class 'GreyPyramid'( or '\w+')* or 'VQVAE', got 'Stranger'; load .* its import"
    ):
        VARPipeline.from_pretrained(tmp_path)


def test_reduced_precision_keeps_the_latents_in_float32(trained):
    pipe, dtypes = VARPipeline(GreyPyramid(GreyConfig()).to(torch.bfloat16), trained[0].transformer), set()
    pipe([1], seeds=[0], callback_on_step_end=lambda _, __, latent: dtypes.add(latent.dtype), **QUIET)
    assert dtypes == {torch.float32}
    assert pipe.vqvae.codes(0).dtype == torch.bfloat16
