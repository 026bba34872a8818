"""Diffusion in a latent space: as in pixels where the latent is the image, saved with its codec, trained by command."""

import json
import re

import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_unet
from toy_codecs import IdentityCodec, IdentityConfig, tiny_autoencoder

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.cli import main
from diffusion_baseline.task import DiffusionTask
from var.conditions import Condition
from var.data.batches import Batch
from var.errors import UserError

QUIET = {"output_type": "pt", "progress": False, "num_inference_steps": 3}


@pytest.fixture
def pixels():
    return tiny_diffusion_pipeline()


@pytest.fixture
def latent():
    """A pipeline for images (1, 8, 8) behind an autoencoder."""
    torch.manual_seed(0)
    codec = tiny_autoencoder()
    codec.measure([torch.rand(8, 1, 8, 8) * 2 - 1])
    return DiffusionPipeline(tiny_unet(image_channels=2, image_size=4), num_timesteps=20, codec=codec)


def with_codec(pipe, codec):
    settings = {name: value for name, value in pipe.settings().items() if name != "class_names"}
    return DiffusionPipeline(pipe.unet, codec=codec, **settings)


def test_a_latent_that_is_the_image_changes_no_bit(pixels):
    same = with_codec(pixels, IdentityCodec(IdentityConfig((1, 4, 8))))
    found, wanted = (pipe([0, 4], seeds=[1, 2], return_intermediates=True, **QUIET) for pipe in (same, pixels))
    assert torch.equal(found.images, wanted.images)
    assert all(map(torch.equal, found.intermediates, wanted.intermediates))
    whole = torch.arange(3)
    batch = Batch(torch.rand(3, 1, 4, 8) * 2 - 1, Condition.of(whole), whole)
    losses = [
        DiffusionTask(pipe).loss(pipe.unet, batch, torch.Generator().manual_seed(5))[0] for pipe in (same, pixels)
    ]
    assert torch.equal(*losses)


def test_images_are_decoded_and_training_sees_latents(latent):
    seen = []
    out = latent([0, 2], seeds=[3, 4], callback_on_step_end=lambda i, t, x: seen.append(x), **QUIET)
    assert [tuple(x.shape) for x in seen] == [(2, 2, 4, 4)] * 3
    torch.testing.assert_close(out.images, (latent.codec.decode(seen[-1]) + 1) / 2)
    assert latent.image_shape == tuple(out.images.shape[1:]) == (1, 8, 8)
    torch.testing.assert_close(latent([2], seeds=[4], **QUIET).images, out.images[1:], atol=2e-5, rtol=0)
    assert latent([1], progress=False, num_inference_steps=1).images[0].size == (8, 8)
    whole = torch.arange(3)
    batch = Batch(torch.rand(3, 1, 8, 8) * 2 - 1, Condition.of(whole), whole)
    loss, _ = DiffusionTask(latent).loss(latent.unet.train(), batch, torch.Generator())
    loss.backward()
    assert all(weight.grad is None for weight in latent.codec.parameters())


def test_the_images_of_a_large_batch_are_decoded_a_few_at_a_time(latent, monkeypatch):
    whole = latent([0, 1, 2, 0, 1], seeds=[3, 4, 5, 6, 7], **QUIET).images
    monkeypatch.setattr("var.images.CHUNK_PIXELS", {"cpu": 2 * 8 * 8})
    sizes, expand = [], latent.codec.expand
    monkeypatch.setattr(latent.codec, "expand", lambda latents: sizes.append(len(latents)) or expand(latents))
    torch.testing.assert_close(latent([0, 1, 2, 0, 1], seeds=[3, 4, 5, 6, 7], **QUIET).images, whole)
    assert sizes == [2, 2, 1]


def test_the_codec_is_saved_with_the_pipeline(latent, pixels, tmp_path):
    latent.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "pipeline_index.json").read_text())
    assert index["parts"] == {"unet": "UNet", "codec": "Autoencoder"}
    loaded = DiffusionPipeline.from_pretrained(tmp_path)
    assert torch.equal(loaded([1], seeds=[7], **QUIET).images, latent([1], seeds=[7], **QUIET).images)
    half = DiffusionPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.codec.scale.dtype == torch.bfloat16
    assert half([1], seeds=[7], **QUIET).images.isfinite().all()
    pixels.save_pretrained(tmp_path)  # what has no codec has none after it
    assert DiffusionPipeline.from_pretrained(tmp_path).codec is None


def test_another_codec_is_refused(latent, pixels):
    rule = r"a codec must have the latents \(channels, height, width\) that the U-Net was made for, \(1, 4, 8\)"
    with pytest.raises(UserError, match=rf"{rule}, got \(2, 4, 4\); give the codec"):
        with_codec(pixels, latent.codec)
    latent.codec = tiny_autoencoder(width=3)
    with pytest.raises(UserError, match=r"\(2, 4, 4\), got \(3, 4, 4\)"):
        latent([0], **QUIET)
    latent.codec = torch.nn.Linear(1, 1)
    with pytest.raises(UserError, match="codec must be a LatentCodec, got Linear"):
        latent([0], **QUIET)


@pytest.mark.parametrize("setting", [{"clip_sample": True}, {"dynamic_threshold": 0.9}])
def test_latents_are_not_kept_in_the_range_of_pixels(latent, setting):
    with pytest.raises(UserError, match="a range latents have not, got a model of these; leave it out"):
        latent([0], **setting, **QUIET)


def test_pixels_have_a_likelihood_and_latents_none(latent):
    with pytest.raises(UserError, match="those of pixels, got a model of latents; use one without a codec"):
        latent.bits_per_dimension(torch.zeros(1, 1, 8, 8))


TINY = {
    "training.steps": 4,
    "training.batch_size": 8,
    "training.schedule": "constant",
    "training.warmup": 0,
    "evaluation.every": 0,
    "checkpoints.every": 2,
    "sampling_steps": 2,
    "num_timesteps": 20,
    "unet.base_channels": 8,
    "unet.embedding_width": 16,
    "unet.norm_groups": 4,
}


def train(output, *others, preset="digits-latent", **settings):
    options = [part for each in ({**TINY, **settings}).items() for part in ("--set", "=".join(map(str, each)))]
    command = ["train", "digits", "--preset", preset, "--output", str(output), "--quiet", "--device", "cpu"]
    return main([*command, *options, *map(str, others)])


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("codec")
    tiny_autoencoder().save_pretrained(folder)
    return folder


def test_a_run_measures_its_codec_and_goes_on_as_if_uninterrupted(codec, tmp_path, capsys):
    assert train(tmp_path / "whole", "--codec", codec) == 0
    assert train(tmp_path / "parts", "--codec", codec, **{"training.steps": 2}) == 0
    assert train(tmp_path / "parts", "--codec", codec) == 0
    whole, parts = (DiffusionPipeline.from_pretrained(tmp_path / name) for name in ("whole", "parts"))
    assert whole.codec.scale != 1
    for model in ("unet", "codec"):
        pairs = zip(*(getattr(pipe, model).state_dict().values() for pipe in (whole, parts)), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    tuned = ["--init", tmp_path / "whole"]
    assert train(tmp_path / "tuned", *tuned, "--plan") == 0
    assert "autoencoder" in capsys.readouterr().out
    assert train(tmp_path / "tuned", *tuned, "--codec", codec) == 2
    assert "the weights to start from bring their codec" in capsys.readouterr().err
    tiny_autoencoder(width=3).save_pretrained(tmp_path / "other")
    assert train(tmp_path / "whole", "--codec", tmp_path / "other") == 2
    assert "codec was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("preset", "codec", "message"),
    [
        ("digits-latent", None, "diffusion in a latent space needs a trained codec, and no other does, got none; add"),
        ("digits", "codec", "got one for pixels; set latent=true"),
        ("digits-latent", "unet", r"must be of class 'Autoencoder'.*got 'UNet'.*a codec is made by `var train"),
        ("digits-latent", "absent", "absent"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(preset, codec, message, tmp_path, capsys):
    tiny_autoencoder().save_pretrained(tmp_path / "codec")
    tiny_unet().save_pretrained(tmp_path / "unet")
    given = [] if codec is None else ["--codec", f"{tmp_path}/{codec}"]
    assert train(tmp_path / "run", *given, preset=preset) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "run").exists()


def test_what_the_codec_gives_is_not_replaced_without_a_word(codec, tmp_path, capsys):
    assert train(tmp_path / "run", "--codec", codec, **{"unet.image_size": 8}) == 2
    message = "unet.image_channels and image_size are given by the codec, (2, 4, 4), got (2, 8, 8); leave them out"
    assert message in capsys.readouterr().err
