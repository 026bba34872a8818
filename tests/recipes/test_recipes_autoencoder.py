"""Training of the autoencoder: its loss, its run from the command line, and its planned cost against a real step."""

import json

import pytest
import torch
from tiny import tiny_vqvae
from torch.utils.flop_counter import FlopCounterMode

from var import VQVAE
from var.autoencoder import Autoencoder, AutoencoderConfig, LatentCodec
from var.cli import main
from var.conditions import Condition
from var.data.batches import Batch
from var.errors import UserError
from var.recipes.autoencoder.job import autoencoder_cost
from var.recipes.autoencoder.losses import AutoencoderLosses
from var.recipes.autoencoder.presets import PRESETS, autoencoder_run
from var.recipes.autoencoder.settings import AutoencoderRun
from var.recipes.autoencoder.task import AutoencoderTask
from var.runs.overrides import settings_from_dict, settings_to_dict
from var.training import TrainingConfig

CONFIG = AutoencoderConfig(
    image_size=16,
    in_channels=1,
    base_channels=4,
    channel_multipliers=(1, 2),
    residual_blocks=1,
    norm_groups=0,
    attention=False,
)
TINY = {
    "training.steps": 4,
    "training.batch_size": 8,
    "training.log_every": 2,
    "training.schedule": "constant",
    "training.warmup": 0,
    "evaluation.every": 2,
    "evaluation.samples": 10,
    "evaluation.grid": 4,
    "checkpoints.every": 2,
    "autoencoder.base_channels": 8,
}


def generator():
    return torch.Generator().manual_seed(2)


def some_batch(side=16):
    whole = torch.arange(4)
    return Batch(torch.rand(4, 1, side, side, generator=generator()) * 2 - 1, Condition.of(whole), whole)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Autoencoder(CONFIG)


def test_the_loss_is_the_lower_bound_per_value(model):
    batch, losses = some_batch(), AutoencoderLosses(l2=2.0, kl=0.3)
    loss, numbers = AutoencoderTask(model, losses).loss(model, batch, generator())
    out = model(batch.images, generator())
    squared, kl = (out.reconstruction - batch.images).square().mean(), out.kl.mean()
    torch.testing.assert_close(loss, 2 * squared + 0.3 * kl / 256)
    assert {name: float(value) for name, value in numbers.items()} == {"reconstruction": squared, "kl": kl}


def test_a_discriminator_is_heard_and_learns(model):
    losses = AutoencoderLosses(adversarial=0.5, patch_channels=4, patch_layers=1, augmentations=())
    task, batch = AutoencoderTask(model, losses), some_batch()
    task.begin_step(0)
    loss, numbers = task.loss(model, batch, generator())
    assert numbers["adversarial_weight"] > 0
    opponent_loss, _ = task.opponent_loss(task.opponent, batch, generator())
    assert torch.stack((loss, opponent_loss)).isfinite().all()


def test_the_planned_cost_is_that_of_a_step(model):
    batch = some_batch()
    with FlopCounterMode(display=False) as counter:
        AutoencoderTask(model).loss(model.train(), batch, generator())[0].backward()
    settings = AutoencoderRun(autoencoder=CONFIG, training=TrainingConfig(steps=1))
    with torch.device("meta"):
        planned = autoencoder_cost(Autoencoder(CONFIG), settings)
    assert 4 * planned.flops == pytest.approx(counter.get_total_flops(), rel=0.02)


def train(output, *others, **settings):
    options = [part for each in ({**TINY, **settings}).items() for part in ("--set", "=".join(map(str, each)))]
    command = ["train", "autoencoder", "digits", "--preset", "digits", "--output", str(output)]
    return main([*command, "--quiet", "--device", "cpu", *options, *others])


def test_a_run_leaves_a_codec_and_goes_on_as_if_uninterrupted(tmp_path, capsys):
    assert train(tmp_path / "whole") == 0
    assert "saved an Autoencoder: diffuse in its latent space with --codec" in capsys.readouterr().out
    assert train(tmp_path / "parts", **{"training.steps": 2, "evaluation.every": 0}) == 0
    assert train(tmp_path / "parts", **{"evaluation.every": 0}) == 0
    whole, parts = (LatentCodec.from_pretrained(tmp_path / name) for name in ("whole", "parts"))
    assert whole.digest == parts.digest
    assert (whole.image_shape, whole.latent_shape) == ((1, 8, 8), (4, 4, 4))
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "squared_error" in row] == [2, 4]
    assert all(row["kl"] > 0 for row in rows if "loss" in row)


def test_weights_to_start_from_fix_the_architecture(tmp_path, capsys):
    Autoencoder(autoencoder_run("digits").autoencoder).save_pretrained(tmp_path / "model")
    assert train(tmp_path / "run", "--init", str(tmp_path / "model")) == 2
    assert "autoencoder.base_channels is fixed by the weights to start from, 16, got 8" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_negative_weight_is_refused():
    with pytest.raises(UserError, match="kl must be 0 or more, got -1"):
        AutoencoderLosses(kl=-1.0)


def test_a_tokenizer_becomes_a_codec(tmp_path, capsys):
    tiny_vqvae().save_pretrained(tmp_path / "vqvae")
    command = ["codec", str(tmp_path / "vqvae"), "--output", str(tmp_path / "codec")]
    assert main(command) == 0
    codec = LatentCodec.from_pretrained(tmp_path / "codec")
    assert codec.digest == VQVAE.from_pretrained(tmp_path / "vqvae").codec().digest
    assert main(command) == 2
    assert "--output must be a new folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_all_presets_return_from_a_run_file(name):
    chosen = autoencoder_run(name)
    assert settings_from_dict(type(chosen), settings_to_dict(chosen)) == chosen
    with torch.device("meta"):
        assert Autoencoder(chosen.autoencoder).latent_shape[1:] in ((4, 4), (8, 8))
