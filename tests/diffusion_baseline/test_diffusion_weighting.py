"""Weights of the loss in closed form, and how often timesteps are drawn."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import tiny_unet

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.schedules import StraightSchedule, cosine_schedule
from diffusion_baseline.task import DiffusionTask
from diffusion_baseline.weighting import DENSITIES, weighted
from var.conditions import Condition
from var.data.batches import Batch
from var.errors import UserError

TIMESTEPS = torch.arange(50)


def weights(name, schedule, prediction):
    return weighted(name, torch.ones(50, dtype=torch.float64), TIMESTEPS, schedule, prediction)


@pytest.mark.parametrize(
    ("name", "prediction", "expected"),
    [
        ("min-snr", "x0", lambda snr: snr.clamp(max=5)),
        ("min-snr", "eps", lambda snr: snr.clamp(max=5) / snr),
        ("min-snr", "v", lambda snr: snr.clamp(max=5) / (snr + 1)),
        ("p2", "eps", lambda snr: 1 / (1 + snr)),
        ("p2", "x0", lambda snr: snr / (1 + snr)),
        ("p2", "v", lambda snr: snr / (1 + snr) ** 2),
        ("uniform", "v", torch.ones_like),
    ],
)
def test_weights_are_those_of_the_papers(name, prediction, expected):
    schedule = cosine_schedule(50)
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    torch.testing.assert_close(weights(name, schedule, prediction), expected(snr))


def test_a_velocity_counts_as_the_image_that_it_means():
    schedule = StraightSchedule(50)
    signal, noise = schedule.levels(TIMESTEPS)
    # x_0 = x_t - s u: an error of u is s times as large in the image.
    expected = ((signal / noise) ** 2).clamp(max=5) * noise**2
    for prediction in ("flow", "meanflow"):
        torch.testing.assert_close(weights("min-snr", schedule, prediction), expected)
    assert weights("min-snr", cosine_schedule(50).zero_terminal(), "v")[-1] == 0


def test_adaptive_weights_let_every_error_count_alike():
    errors = torch.tensor([1e-2, 1.0, 100.0], requires_grad=True)
    losses = weighted("adaptive", errors, torch.zeros(3, dtype=torch.long), cosine_schedule(50), "v")
    losses.sum().backward()
    torch.testing.assert_close(errors.grad, 1 / (errors.detach() + 1e-3))


def test_timesteps_by_their_density():
    drawn = {name: draw(40_000, 1000, torch.Generator().manual_seed(0)) for name, draw in DENSITIES.items()}
    for timesteps in drawn.values():
        assert 0 <= timesteps.min() < 20
        assert 980 < timesteps.max() < 1000
    assert drawn["uniform"].double().var().item() == pytest.approx(1000**2 / 12, rel=0.02)
    logits = ((drawn["logit-normal"].double() + 0.5) / 1000).logit()
    assert logits.mean().item() == pytest.approx(0, abs=0.02)
    assert logits.std().item() == pytest.approx(1, abs=0.02)


def test_the_task_weighs_what_it_draws():
    torch.manual_seed(0)
    pipe = DiffusionPipeline(tiny_unet(), num_timesteps=50)
    batch = Batch(torch.zeros(4, 1, 4, 8), Condition.of(torch.zeros(4, dtype=torch.long)), torch.arange(4))

    def loss(seed=0, **settings):
        generator = torch.Generator().manual_seed(seed)
        return DiffusionTask(pipe, **settings).loss(pipe.unet, batch, generator)[0].item()

    generator = torch.Generator().manual_seed(0)
    timesteps = torch.randint(50, (4,), generator=generator)
    alpha, sigma = pipe.schedule.signal_and_noise(timesteps, batch.images)
    noise = torch.randn(4, 1, 4, 8, generator=generator)
    # An untrained network predicts nothing; of images that are 0 the v-target is alpha eps.
    errors = (alpha * noise).square().mean((1, 2, 3))
    assert loss() == pytest.approx(errors.mean().item(), rel=1e-5)
    snr = (alpha / sigma).square().flatten()
    expected = (errors * snr.clamp(max=5) / (snr + 1)).mean().item()
    assert loss(loss_weight="min-snr") == pytest.approx(expected, rel=1e-4)
    assert loss(timestep_density="logit-normal") != pytest.approx(loss(), rel=1e-3)
    assert math.isclose(loss(loss_weight="adaptive"), 1, rel_tol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_weight": "min_snr"}, "unknown loss_weight 'min_snr'; did you mean 'min-snr'"),
        ({"timestep_density": "logitnormal"}, "unknown timestep_density 'logitnormal'; did you mean 'logit-normal'"),
        ({"interval_share": 1.5}, r"interval_share is a share and must lie in \[0, 1\], got 1.5"),
    ],
)
def test_bad_settings(settings, message):
    pipe = DiffusionPipeline(tiny_unet())
    with pytest.raises(UserError, match=message):
        DiffusionTask(pipe, **settings)
    with pytest.raises(UserError, match=message):
        replace(diffusion_run("digits"), **settings)
