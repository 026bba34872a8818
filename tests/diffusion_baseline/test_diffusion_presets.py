"""Presets and the training task."""

import dataclasses

import pytest
import torch

from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.presets import PRESETS, diffusion_run
from diffusion_baseline.task import DiffusionTask
from diffusion_baseline.unet import UNet, UNetConfig
from var.conditions import Condition
from var.data import ArrayData, Batch
from var.errors import UserError
from var.training import TrainingConfig, train

CONFIG = UNetConfig(
    num_classes=2,
    image_size=4,
    image_channels=1,
    base_channels=8,
    multipliers=(1, 2),
    residual_blocks=1,
    attention_levels=(),
    embedding_width=16,
    norm_groups=4,
)


def pipeline(prediction="v"):
    torch.manual_seed(0)
    return DiffusionPipeline(UNet(CONFIG), num_timesteps=50, prediction=prediction)


def batch(count=16):
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images, Condition.of(torch.arange(count) % 2), torch.arange(count))


def loss(task, seed=0):
    return task.loss(task.model, batch(), torch.Generator().manual_seed(seed))[0]


def test_loss_of_the_untrained_network_is_the_variance_of_its_target():
    # The network starts at zero, and noise has variance 1.
    losses = [loss(DiffusionTask(pipeline("eps")), seed).item() for seed in range(20)]
    assert sum(losses) / 20 == pytest.approx(1, abs=5 * (2 / (20 * 256)) ** 0.5)


def test_all_randomness_comes_from_the_generator():
    task, state = DiffusionTask(pipeline()), torch.get_rng_state()
    assert loss(task, 3) == loss(task, 3)
    assert loss(task, 3) != loss(task, 4)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("label_drop", "rows"),
    [(0.0, [True, True, False]), (1.0, [False, False, True]), (0.5, [True, True, True])],
)
def test_label_drop_trains_the_null_label(label_drop, rows):
    task = DiffusionTask(pipeline(), label_drop=label_drop)
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    loss(task).backward()
    assert task.model.label.weight.grad.any(dim=1).tolist() == rows


def test_training_learns_two_classes_apart():
    pipe = pipeline()
    # Class 0 is a dark image and class 1 a bright one: what a label asks for is easy to see.
    images = torch.cat([torch.full((16, 1, 4, 4), -0.5), torch.full((16, 1, 4, 4), 0.5)])
    data = ArrayData(images, [0] * 16 + [1] * 16)
    config = TrainingConfig(steps=40, batch_size=16, learning_rate=1e-2, weight_decay=0.0, log_every=10)
    result = train(DiffusionTask(pipe), data, config, progress=False, device="cpu")
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    settings = {"num_inference_steps": 5, "guidance_scale": 1, "output_type": "pt", "progress": False}
    dark, bright = pipe([0, 1], seeds=[1, 2], **settings).images.mean(dim=(1, 2, 3)).tolist()
    assert dark < 0.4
    assert bright > 0.55


def test_presets_build_with_weights_that_depend_on_the_seed_only():
    small = dataclasses.replace(diffusion_run("digits"), unet=CONFIG)
    state = torch.get_rng_state()
    first, same, other = (small.pipeline(seed=seed).unet.stem.weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_makes_a_pipeline_of_its_settings(name):
    chosen = diffusion_run(name)
    with torch.device("meta"):  # the weights of the large ones are not needed
        unet = UNet(chosen.unet)
    pipe = DiffusionPipeline(
        unet, schedule=chosen.schedule, num_timesteps=chosen.num_timesteps, prediction=chosen.prediction
    )
    assert pipe.settings()["class_names"] == [str(label) for label in range(chosen.unet.num_classes)]
    DiffusionTask(pipe, chosen.label_drop)


def test_the_digits_preset_fits_the_digits():
    pipe = diffusion_run("digits").pipeline([str(digit) for digit in range(10)])
    assert pipe.unet.config.size == (8, 8)
    assert pipe.unet.config.image_channels == 1
    assert pipe.class_names[-1] == "9"
    assert 5e5 < sum(parameter.numel() for parameter in pipe.unet.parameters()) < 7e5


def test_mistakes():
    with pytest.raises(UserError, match="unknown diffusion preset 'digit'; did you mean 'digits'"):
        diffusion_run("digit")
    with pytest.raises(UserError, match=r"label_drop .* \[0, 1\], got 1.5"):
        DiffusionTask(pipeline(), label_drop=1.5)
