"""A setting by the name that it has elsewhere, or by a word that is misspelt, finds ours."""

import re
from dataclasses import fields

import pytest

from diffusion_baseline.presets import PRESETS
from diffusion_baseline.sampling_settings import SamplingSettings
from var import aliases
from var.errors import UserError
from var.nested import leaves
from var.recipes.transformer.presets import transformer_run
from var.recipes.vqvae.presets import vqvae_run
from var.runs.overrides import overridden, settings_to_dict

RUNS = {"vqvae": vqvae_run("digits"), "transformer": transformer_run("digits"), "unet": PRESETS["digits"]}


@pytest.mark.parametrize(
    ("run", "name", "ours"),
    [
        ("vqvae", "training.lr", "training.learning_rate"),
        ("vqvae", "lr", "training.learning_rate"),
        ("vqvae", "optimizer.lr", "training.learning_rate"),
        ("vqvae", "training.WD", "training.weight_decay"),
        ("transformer", "training.bs", "training.batch_size"),
        ("transformer", "training.epochs", "training.steps"),
        ("transformer", "training.iterations", "training.steps"),
        ("transformer", "training.num-steps", "training.steps"),
        ("transformer", "training.warmup_steps", "training.warmup"),
        ("transformer", "training.ema", "training.ema_decay"),
        ("transformer", "training.grad_clip", "training.clip_norm"),
        ("transformer", "training.precision", "training.mixed_precision"),
        ("transformer", "training.gradient_accumulation_steps", "training.accumulation"),
        ("transformer", "training.dropout", "transformer.dropout"),
        ("transformer", "transformer.num_heads", "transformer.heads"),
        ("transformer", "transformer.n_layers", "transformer.depth"),
        ("transformer", "transformer.patch_nums", "transformer.sides"),
        ("transformer", "sampling.cfg", "sampling.guidance_scale"),
        ("vqvae", "vqvae.codebook_size", "vqvae.vocabulary"),
        ("vqvae", "vqvae.ch_mult", "vqvae.channel_multipliers"),
        ("vqvae", "evaluation.eval_every", "evaluation.every"),
        ("vqvae", "training.save_every", "checkpoints.every"),
        ("unet", "num_inference_steps", "sampling_steps"),
        ("unet", "unet.ch_mult", "unet.multipliers"),
        ("unet", "num_train_timesteps", "num_timesteps"),
        ("unet", "p_uncond", "label_drop"),
        ("vqvae", "training.stpes", "training.steps"),
    ],
)
def test_the_setting_that_was_meant_is_named(run, name, ours):
    with pytest.raises(UserError, match=rf"unknown setting '{re.escape(name)}'; did you mean .*'{re.escape(ours)}'"):
        overridden(RUNS[run], assignments=[f"{name}=1"])


def test_an_unknown_group_names_the_groups():
    with pytest.raises(UserError, match=r"unknown setting 'foo.bar'; choose one of 'checkpoints', 'data'") as caught:
        overridden(RUNS["vqvae"], assignments=["foo.bar=1"])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("training.optimizer=Muon", "'muon'"),
        ("training.optimizer=AdamW", "'adamw'"),
        ("training.mixed_precision=fp16", "'bf16'"),
        ("training.schedule=Cosine", "'cosine'"),
        ("vqvae.codebook=EMA", "'ema'"),
        ("vqvae.phi=per_scale", "'per-scale'"),
        ("losses.gan_loss=Hinge", "'hinge'"),
    ],
)
def test_a_word_that_is_not_understood_is_refused_with_the_nearest(text, word):
    with pytest.raises(UserError, match=f"did you mean {word}"):
        overridden(RUNS["vqvae"], assignments=[text])


def test_every_name_of_the_table_is_a_setting_of_some_run_or_call():
    known = {name for run in RUNS.values() for name, _ in leaves(settings_to_dict(run))}
    known |= {each.name for each in fields(SamplingSettings)}
    for ours in aliases._CALLED:
        assert any(f".{name}".endswith(f".{ours}") for name in known), ours
