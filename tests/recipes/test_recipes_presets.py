"""Presets are found by name, fit together, build the same weights from the same seed, and are those published."""

from dataclasses import replace

import pytest
import torch
from comparison.contenders import shortened

from var.cli import main
from var.errors import UserError
from var.recipes.transformer.presets import PRESETS as TRANSFORMERS
from var.recipes.transformer.presets import transformer_run
from var.recipes.vqvae.presets import IMAGENET, vqvae_run
from var.recipes.vqvae.presets import PRESETS as TOKENIZERS
from var.runs.overrides import settings_from_dict, settings_to_dict
from var.training import TrainingConfig
from var.transformer import VAR
from var.vqvae import VQVAE

PAIRS = [
    (name, name)
    for name in ("digits", "shapes-32", "shapes-text-32", "emoji-32", "emoji-64", "cifar-32", "imagenet-64")
]
PAIRS += [("imagenet-256", "d16"), ("imagenet-512", "d36")]


@pytest.mark.parametrize(("look_up", "kind"), [(vqvae_run, "tokenizer"), (transformer_run, "transformer")])
def test_an_unknown_preset_is_answered_with_the_nearest_one(look_up, kind):
    with pytest.raises(UserError, match=f"unknown {kind} preset 'digit'; did you mean 'digits'"):
        look_up("digit")
    with pytest.raises(UserError, match=r"choose one of .*'digits'"):
        look_up("zzzz")


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_tokenizer_and_its_transformer_fit_together(first, second):
    vqvae, run = vqvae_run(first).vqvae, transformer_run(second)
    assert run.transformer.sides == vqvae.sides
    assert run.transformer.vocabulary == vqvae.vocabulary
    assert run.transformer.code_width == vqvae.width
    assert 0 < run.label_drop < 1


def test_a_new_preset_is_one_row(monkeypatch, capsys, tmp_path):
    digits = transformer_run("digits")
    row = replace(digits, transformer=replace(digits.transformer, depth=7))
    monkeypatch.setitem(TRANSFORMERS, "deep-digits", row)
    command = ["train", "transformer", "digits", "--output", str(tmp_path / "run"), "--plan", "--preset"]
    assert main([*command, "deep-digits"]) == 0
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in VAR(row.transformer).parameters())
    assert f"{parameters:,} parameters" in capsys.readouterr().out
    assert main([*command, "deep-digit"]) == 2
    assert "did you mean 'deep-digits'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [
        ("digits", 8, 1),
        ("shapes-32", 32, 3),
        ("shapes-text-32", 32, 3),
        ("emoji-32", 32, 3),
        ("emoji-64", 64, 3),
        ("cifar-32", 32, 3),
        ("imagenet-64", 64, 3),
        ("imagenet-256", 256, 3),
        ("imagenet-512", 512, 3),
    ],
)
def test_a_preset_is_for_the_images_that_its_name_says(name, size, channels):
    config = vqvae_run(name).vqvae
    assert config.image_size == (size, size)
    assert config.in_channels == channels


@pytest.mark.parametrize("table", [TOKENIZERS, TRANSFORMERS])
def test_all_presets_return_from_a_run_file(table):
    for run in table.values():
        assert settings_from_dict(type(run), settings_to_dict(run)) == run
        assert run.evaluation.every <= run.training.steps
        assert run.checkpoints.every <= run.training.steps


# Depth, parameters in millions, epochs, batch, learning rate, last share of it.
PUBLISHED = [
    ("d16", 16, 310, 200, 768, 3e-4, 0.1),
    ("d20", 20, 600, 250, 768, 3e-4, 0.1),
    ("d24", 24, 1030, 350, 768, 2.4e-4, 0.01),
    ("d30", 30, 2010, 350, 1024, 3.2e-4, 0.01),
    ("d36", 36, 2350, 350, 768, 2.4e-4, 0.01),
]


@pytest.mark.parametrize(("name", "depth", "millions", "epochs", "batch", "rate", "last"), PUBLISHED)
def test_the_large_transformers_are_those_published(name, depth, millions, epochs, batch, rate, last):
    run = transformer_run(name)
    config, training = run.transformer, run.training
    assert (config.depth, config.width, config.heads) == (depth, 64 * depth, depth)
    assert config.drop_path == pytest.approx(0.1 * depth / 24)
    assert config.shared_adaln == (depth == 36)
    assert config.schedule.length == (2240 if depth == 36 else 680)
    assert training.batch_size == batch
    assert training.learning_rate == pytest.approx(rate)
    assert training.final_learning_rate == last
    assert training.steps * batch / IMAGENET == pytest.approx(epochs, rel=1e-4)
    assert (training.betas, training.weight_decay, training.clip_norm) == ((0.9, 0.95), 0.05, 2.0)
    assert (training.schedule, training.warmup, training.ema_decay) == ("linear", 0.02, 0.0)
    assert run.label_drop == 0.1
    with torch.device("meta"):
        model = VAR(config)
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(1e6 * millions, rel=0.02)


def test_gates_begin_small_where_the_recipe_asks_for_it():
    torch.manual_seed(0)
    run = transformer_run("d16")
    config = transformer_run("digits").transformer
    small = settings_from_dict(type(config), settings_to_dict(config) | {"gate_std": 1e-4, "shared_adaln": False})
    weight = VAR(small).blocks[0].adaln.linear.weight.detach()
    assert weight[: 2 * small.width].std().item() == pytest.approx(1e-4, rel=0.05)
    assert weight[2 * small.width :].std().item() == pytest.approx(small.modulation_std, rel=0.05)
    assert run.transformer.gate_std == pytest.approx(1e-3 * 2 * run.transformer.modulation_std)


def test_the_published_tokenizer_is_the_default():
    run = vqvae_run("imagenet-256")
    assert run.vqvae == VQVAE.config_class()
    assert (run.losses.l2, run.losses.perceptual, run.losses.adversarial) == (1.0, 1.0, 0.5)
    assert (run.losses.adversarial_start, run.training.batch_size, run.training.learning_rate) == (20_000, 128, 1e-4)


def test_the_digits_preset_is_the_one_that_was_measured():
    vqvae, run = vqvae_run("digits").vqvae, transformer_run("digits")
    assert (vqvae.sides, vqvae.repeats) == ((1, 2), (2, 5))
    assert (vqvae.vocabulary, vqvae.width, vqvae.codebook) == (512, 8, "ema")
    assert vqvae_run("digits").data.affine == 0.15
    first, second = vqvae_run("digits").training, run.training
    assert (first.steps, first.batch_size, first.learning_rate, first.ema_decay) == (1000, 64, 5e-3, 0.995)
    assert (second.steps, second.batch_size, second.learning_rate, second.ema_decay) == (1600, 32, 6e-3, 0.999)
    assert (first.optimizer, second.optimizer) == ("muon", "muon")
    assert (run.tokens.variants, run.tokens.temperature, run.label_drop) == (16, 0.2, 0.1)
    assert (run.transformer.depth, run.transformer.width, run.transformer.num_classes) == (3, 96, 10)
    assert (run.sampling.guidance_scale, run.sampling.guidance_schedule) == (1.0, "constant")


@pytest.mark.parametrize("run", [vqvae_run("digits"), transformer_run("digits")])
def test_untrained_weights_depend_on_the_seed_only(run):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    weights = run.model(seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = run.model(seed=5).state_dict(), run.model(seed=6).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in again.items())
    assert not all(torch.equal(weights[name], value) for name, value in other.items())


def test_a_shortened_training_averages_over_the_same_share_of_its_steps():
    run = replace(vqvae_run("digits"), training=TrainingConfig(steps=1000, ema_decay=0.998, learning_rate=0.5, seed=4))
    short = shortened(run, 100).training
    assert short.steps == 100
    assert short.ema_decay == pytest.approx(0.98)
    assert (short.learning_rate, short.seed) == (0.5, 4)
    assert shortened(replace(run, training=TrainingConfig(steps=1000)), 10).training.ema_decay == 0
