"""The planned cost of a step against a real step: parameters, and FLOPs as PyTorch counts them."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from var.conditions import Condition
from var.data import ArrayData
from var.data.batches import Batch
from var.linear import kernel_flops
from var.recipes.transformer.job import transformer_cost
from var.recipes.transformer.task import TransformerTask
from var.recipes.vqvae.cost import loss_networks, vqvae_cost
from var.recipes.vqvae.dino import untrained_dino
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.presets import vqvae_run
from var.recipes.vqvae.task import VQVAETask
from var.runs.cost import Cost, training_flops
from var.training import TrainingConfig
from var.transformer import VAR, VARConfig
from var.vqvae import VQVAE, VQVAEConfig

BATCH = 2
VQVAE_CONFIG = VQVAEConfig(
    sides=(1, 2, 4, 8),
    base_channels=16,
    channel_multipliers=(1, 2),
    residual_blocks=1,
    norm_groups=8,
    width=8,
    vocabulary=64,
)
VAR_CONFIG = VARConfig(sides=(1, 2, 4, 8), vocabulary=64, code_width=8, num_classes=3, depth=3, width=48, heads=4)


def counted(task, batch):
    """FLOPs of a real step, an image; attention unfused, since the fused kernel of a CPU is not counted."""
    generator = torch.Generator().manual_seed(0)
    plain = sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False, custom_mapping=kernel_flops()) as counter, plain:
        loss, _ = task.loss(task.model, batch, generator)
        loss.backward()
    return counter.get_total_flops() / BATCH


def batch(size):
    images = torch.rand(BATCH, 3, size, size) * 2 - 1
    return Batch(images, Condition.of(torch.arange(BATCH)), torch.arange(BATCH))


def on_meta(model_class, config):
    with torch.device("meta"):
        return model_class(config)


def test_the_transformer_costs_what_a_step_takes():
    vqvae, model = VQVAE(VQVAE_CONFIG), VAR(VAR_CONFIG)
    task = TransformerTask(model, vqvae)
    whole = batch(16)
    with FlopCounterMode(display=False) as encoding:
        task.tokens_and_inputs(whole, torch.Generator())
    real = counted(task, whole) - encoding.get_total_flops() / BATCH
    assert transformer_cost(VAR_CONFIG).flops == pytest.approx(real, rel=0.01)


def test_operations_of_real_steps_are_counted_whichever_library_computes_them(monkeypatch):
    images = batch(16)
    data = ArrayData(images.images, [*range(BATCH)], layout="channels_first")
    counts = []
    for kernel in (True, False):
        if not kernel:
            monkeypatch.setattr("var.linear.has_kernel", lambda weight: False)
        task = TransformerTask(VAR(VAR_CONFIG), VQVAE(VQVAE_CONFIG))
        counts.append(training_flops(task, data, TrainingConfig(steps=3, batch_size=BATCH)))
    assert counts[0] == counts[1] > 0


def test_the_transformer_costs_six_flops_a_weight_and_token_and_the_attention():
    config = replace(VAR_CONFIG, depth=4, width=1024, heads=16)
    length, width = config.schedule.length, config.width
    blocks = config.depth * 12 * width**2
    ends = width * (config.code_width + config.vocabulary)
    adaln = (6 * config.depth + 2) * width**2 / length  # of one condition, for all tokens of the image
    attention = 12 * config.depth * length**2 * width
    expected = 6 * length * (blocks + ends + adaln) + attention
    assert transformer_cost(config).flops == pytest.approx(expected, rel=0.01)


def test_the_tokenizer_costs_what_a_step_takes():
    real = counted(VQVAETask(VQVAE(VQVAE_CONFIG).train()), batch(16))
    settings = replace(vqvae_run("shapes-32"), vqvae=VQVAE_CONFIG)
    assert vqvae_cost(on_meta(VQVAE, VQVAE_CONFIG), settings).flops == pytest.approx(real, rel=0.02)


def test_half_the_precision_and_checkpointing_take_less_memory():
    config = replace(VAR_CONFIG, depth=6)
    full, half = (transformer_cost(config, half=half) for half in (False, True))
    assert half.flops == full.flops
    assert 0.45 < half.kept / full.kept < 0.7
    spared = transformer_cost(config, checkpointing=True)
    assert spared.flops == full.flops
    assert spared.kept < full.kept / 3


def test_the_networks_of_the_losses_cost_what_a_step_takes():
    settings = replace(vqvae_run("shapes-32"), vqvae=VQVAE_CONFIG)
    assert loss_networks(settings) == ([], Cost(flops=0, kept=0))
    losses = VQVAELosses(adversarial=1.0, adaptive=False, augmentations=(), patch_channels=8, patch_layers=1)
    (network,), cost = loss_networks(replace(settings, losses=losses))
    task = VQVAETask(VQVAE(VQVAE_CONFIG).train(), losses)
    task.begin_step(0)
    plain = counted(VQVAETask(VQVAE(VQVAE_CONFIG).train()), batch(16))
    whole = batch(16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        task.opponent.requires_grad_(False)
        task.loss(task.model, whole, torch.Generator().manual_seed(0))[0].backward()
        task.opponent.requires_grad_(True)
        task.opponent_loss(task.opponent, whole, torch.Generator().manual_seed(0))[0].backward()
    assert cost.flops == pytest.approx(counter.get_total_flops() / BATCH - plain, rel=0.02)
    assert network.parameters == sum(weight.numel() for weight in task.opponent.parameters())
    networks, with_lpips = loss_networks(replace(settings, losses=VQVAELosses(perceptual=1.0)))
    # VGG16's convolutions: 15.3 thousand million products at 224 pixels, for two images and the gradient of one.
    assert with_lpips.flops == pytest.approx(3 * 2 * 15.35e9 * (16 / 224) ** 2, rel=0.03)
    assert not networks[0].trained


def test_the_network_that_latents_are_aligned_with_costs_what_it_takes(monkeypatch, tmp_path):
    monkeypatch.setattr("var.recipes.vqvae.dino.DINO", "test_vit")
    save_file(untrained_dino().state_dict(), tmp_path / "dino.safetensors")
    losses = VQVAELosses(alignment=1.0, dino_weights=str(tmp_path / "dino.safetensors"))
    (network,), cost = loss_networks(replace(vqvae_run("shapes-32"), vqvae=VQVAE_CONFIG, losses=losses))
    plain, aligned = (counted(VQVAETask(VQVAE(VQVAE_CONFIG).train(), each), batch(16)) for each in (None, losses))
    assert cost.flops == pytest.approx(aligned - plain, rel=0.02)
    assert cost.kept == 0
    assert not network.trained
