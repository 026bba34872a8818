"""Presets are found by name, fit together, and build the same weights from the same seed."""

import pytest
import torch

from var.errors import UserError
from var.recipes.presets import PRESETS, preset, shortened
from var.training import TrainingConfig


def test_an_unknown_preset_is_answered_with_the_nearest_one():
    with pytest.raises(UserError, match="unknown VAR preset 'digit'; did you mean 'digits'"):
        preset("digit")
    with pytest.raises(UserError, match=r"choose one of .*'digits'"):
        preset("zzzz")


@pytest.mark.parametrize("name", PRESETS)
def test_the_parts_of_a_preset_fit_together(name):
    chosen = preset(name)
    assert chosen.transformer.sides == chosen.vqvae.sides
    assert chosen.transformer.vocabulary == chosen.vqvae.vocabulary
    assert chosen.transformer.code_width == chosen.vqvae.width
    assert 0 < chosen.label_drop < 1


def test_the_digits_preset_fits_the_digits():
    chosen = preset("digits")
    assert chosen.vqvae.image_size == (8, 8)
    assert chosen.vqvae.in_channels == 1
    assert chosen.transformer.num_classes == 10


def test_untrained_weights_depend_on_the_seed_only():
    chosen = preset("digits")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    pipe = chosen.pipeline(5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for part, again, other in (
        (pipe.vqvae, chosen.build_vqvae(5), chosen.build_vqvae(6)),
        (pipe.transformer, chosen.build_transformer(5), chosen.build_transformer(6)),
    ):
        weights = part.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in again.state_dict().items())
        assert not all(torch.equal(weights[name], value) for name, value in other.state_dict().items())


def test_a_shortened_training_averages_over_the_same_share_of_its_steps():
    config = TrainingConfig(steps=1000, ema_decay=0.998, learning_rate=0.5, seed=4)
    short = shortened(config, 100)
    assert short.steps == 100
    assert short.ema_decay == pytest.approx(0.98)
    assert (short.learning_rate, short.seed) == (0.5, 4)
    assert shortened(TrainingConfig(steps=1000), 10).ema_decay == 0
