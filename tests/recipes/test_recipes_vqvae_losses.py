"""The table of loss weights: what it refuses, and when the discriminator is listened to."""

import pytest

from var.configs import config_from_dict, config_to_dict
from var.errors import UserError
from var.recipes.vqvae.losses import VQVAELosses


def test_the_judgement_starts_late_and_rises():
    losses = VQVAELosses(adversarial=0.4, adversarial_start=10, adversarial_lead=5, adversarial_warmup=4)
    weights = [losses.adversarial_weight(step) for step in range(22)]
    assert weights[:15] == [0.0] * 15
    assert weights[15:] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])


def test_without_start_and_warmup_the_judgement_counts_at_once():
    assert VQVAELosses(adversarial=0.5).adversarial_weight(0) == 0.5
    assert VQVAELosses().adversarial_weight(10**6) == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l1": -1.0}, "l1 must be 0 or more, got -1.0"),
        ({"perceptual": float("nan")}, "perceptual must be a finite number, got nan"),
        ({"l2": 0.0}, "one of the weights l1, l2 and perceptual must be above 0"),
        ({"adaptive_limit": 0.0}, "adaptive_limit must be positive"),
        ({"lecam_decay": 1.0}, "lecam_decay must lie in"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        VQVAELosses(**settings)


def test_json_and_back():
    losses = VQVAELosses(l1=0.2, discriminator="dino", augmentations=("cutout",), dino_blocks=(1, 2))
    assert config_from_dict(VQVAELosses, config_to_dict(losses)) == losses
