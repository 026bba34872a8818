"""Both stages on the real digits in a few steps: train, save, load, sample."""

import torch
from tiny import transformer_config, vqvae_config

from var import VAR, VQVAE, VARPipeline
from var.data import digits
from var.randomness import keyed_global_stream
from var.recipes.transformer.task import TransformerTask
from var.recipes.vqvae.task import VQVAETask
from var.training import TrainingConfig, train

TOKENS = {"sides": (1, 2, 4), "vocabulary": 32}
VQVAE_CONFIG = vqvae_config(**TOKENS, codebook="ema", kmeans_init=True, restart_below=0.05)
VAR_CONFIG = transformer_config(**TOKENS, num_classes=10, width=32, dropout=0.1, drop_path=0.1)


def trained(steps, seed=0, **settings):
    """A pipeline after some steps of both stages, with the histories of both."""
    with keyed_global_stream("weights", seed):
        vqvae, transformer = VQVAE(VQVAE_CONFIG), VAR(VAR_CONFIG)
    data = digits("train")
    config = {"batch_size": 32, "learning_rate": 3e-3, "log_every": 4, "ema_decay": 0.9, "seed": seed, **settings}
    quiet = {"progress": False, "device": "cpu"}
    first = train(VQVAETask(vqvae), data, TrainingConfig(steps=steps, **config), **quiet)
    second = train(TransformerTask(transformer, vqvae), data, TrainingConfig(steps=steps, **config), **quiet)
    return VARPipeline(vqvae, transformer), first.history, second.history


def test_train_save_load_sample(tmp_path):
    before = torch.get_rng_state()
    pipe, tokenizer_history, transformer_history = trained(28)
    assert torch.equal(torch.get_rng_state(), before)
    assert tokenizer_history[-1]["reconstruction"] < tokenizer_history[0]["reconstruction"] * 0.7
    assert tokenizer_history[-1]["usage_2"] > 0.5
    assert transformer_history[-1]["loss"] < transformer_history[0]["loss"] - 0.3

    pipe.save_pretrained(tmp_path)
    loaded = VARPipeline.from_pretrained(tmp_path)
    labels = torch.arange(10)
    settings = {"seeds": list(range(10)), "output_type": "pt", "progress": False}
    images = pipe(labels, **settings).images
    assert torch.equal(loaded(labels, **settings).images, images)
    assert images.shape == (10, 1, 8, 8)
    assert len(images.flatten(1).unique(dim=0)) == 10

    # Trained on digits, the pair prefers digits to the same pixels in another order.
    test = digits("test").images[:64]
    shuffled = test.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))].view_as(test)
    assert pipe.log_likelihood(test).mean() > pipe.log_likelihood(shuffled).mean()
    errors = [(pipe.vqvae.reconstruct(x) - x).square().mean() for x in (test, shuffled)]
    assert errors[0] < errors[1] / 2


def test_training_both_stages_twice_gives_identical_weights():
    first, *histories = trained(5, seed=1)
    again, *same_histories = trained(5, seed=1)
    assert histories == same_histories
    for part, same in ((first.vqvae, again.vqvae), (first.transformer, again.transformer)):
        weights = same.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in part.state_dict().items())


def test_both_stages_learn_in_mixed_precision():
    pipe, tokenizer_history, transformer_history = trained(8, mixed_precision="bf16")
    assert tokenizer_history[-1]["loss"] < tokenizer_history[0]["loss"]
    assert transformer_history[-1]["loss"] < transformer_history[0]["loss"]
    assert all(weight.dtype == torch.float32 for part in (pipe.vqvae, pipe.transformer) for weight in part.parameters())
