"""The tokenizer's task: its losses against the lines that define them, its discriminator, its alarms."""

import math

import pytest
import torch
from tiny import tiny_vqvae

from var.conditions import Condition
from var.data.batches import Batch
from var.data.named.shapes import shapes
from var.errors import UserError
from var.evaluation.metrics.lpips import LPIPS
from var.recipes.vqvae.gan_losses import adaptive_weight, generator_loss
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.task import VQVAETask
from var.training import PeriodicEvaluation, TrainingConfig, train
from var.training.task import AdversarialTask, StatefulTask, SteppedTask, Task, WaitingTask, WatchfulTask

ADVERSARIAL = {"adversarial": 0.5, "patch_channels": 4, "patch_layers": 1, "augmentations": ()}


def make_vqvae(sides=(1, 2, 4), **settings):
    torch.manual_seed(3)
    return tiny_vqvae(**{"sides": sides, "in_channels": 3, "channel_multipliers": (1, 2, 2), **settings}).train()


def make_batch(vqvae, count=4):
    channels, (height, width) = vqvae.config.in_channels, vqvae.config.image_size
    return Batch(
        torch.rand(count, channels, height, width) * 2 - 1, Condition.of(torch.zeros(count).long()), torch.arange(count)
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def decoded(vqvae, images):
    """Reconstruction and quantisation loss, by the parts of the model."""
    vqvae.eval()
    latent = vqvae.latent(images)
    accumulated = vqvae.quantizer.accumulate(vqvae.encode(images))
    quantization = 1.25 * sum((acc - latent).square().mean() for acc in accumulated) / len(accumulated)
    return vqvae.decoder(vqvae.post_quant_conv(accumulated[-1])), quantization


def test_the_loss_is_the_weighted_distance_plus_quantisation():
    vqvae = make_vqvae()
    batch = make_batch(vqvae)
    loss, numbers = VQVAETask(vqvae, VQVAELosses(l1=0.5, l2=2.0)).loss(vqvae, batch, generator())
    loss.backward()
    assert all(weight.grad is not None for weight in vqvae.parameters())
    image, quantization = decoded(vqvae, batch.images)
    squared, absolute = (image - batch.images).square().mean(), (image - batch.images).abs().mean()
    torch.testing.assert_close(loss, 2 * squared + 0.5 * absolute + quantization)
    torch.testing.assert_close(numbers["reconstruction"], squared.detach())
    torch.testing.assert_close(numbers["absolute"], absolute.detach())
    torch.testing.assert_close(numbers["quantization"], quantization.detach())


def test_the_use_of_the_codes_of_every_scale_is_reported():
    vqvae = make_vqvae()
    batch = make_batch(vqvae)
    _, numbers = VQVAETask(vqvae).loss(vqvae, batch, generator())
    assert set(numbers) == {"reconstruction", "quantization"} | {
        f"{name}_{scale}" for name in ("usage", "perplexity") for scale in range(3)
    }
    for scale, tokens in enumerate(vqvae.eval().encode(batch.images)):
        assert float(numbers[f"usage_{scale}"]) == pytest.approx(len(tokens.unique()) / 16)
        assert 1 <= float(numbers[f"perplexity_{scale}"]) <= len(tokens.unique()) + 1e-4
    assert not any(number.requires_grad for number in numbers.values())


def test_the_autoencoder_may_learn_alone_at_first():
    vqvae = make_vqvae(codebook="ema", kmeans_init=True)
    batch = make_batch(vqvae)
    task = VQVAETask(vqvae, VQVAELosses(quantize_from=2))
    before = {name: value.clone() for name, value in vqvae.quantizer.state_dict().items()}
    task.begin_step(1)
    loss, numbers = task.loss(vqvae, batch, generator())
    image = vqvae.decoder(vqvae.post_quant_conv(vqvae.latent(batch.images)))
    torch.testing.assert_close(loss, (image - batch.images).square().mean())
    assert set(numbers) == {"reconstruction"}
    assert all(torch.equal(value, before[name]) for name, value in vqvae.quantizer.state_dict().items())
    assert vqvae.quantizer.codebook.wants_init
    task.begin_step(2)
    _, numbers = task.loss(vqvae, batch, generator())
    assert {"quantization", "usage_0"} <= set(numbers)
    assert not vqvae.quantizer.codebook.wants_init
    assert task.find_unused_parameters
    assert not VQVAETask(vqvae).find_unused_parameters


def test_the_entropy_loss_is_added():
    vqvae = make_vqvae()
    batch = make_batch(vqvae)
    plain, _ = VQVAETask(vqvae).loss(vqvae, batch, generator())
    losses = VQVAELosses(entropy=0.3, entropy_temperature=0.5, entropy_diversity=2.0)
    loss, numbers = VQVAETask(vqvae, losses).loss(vqvae, batch, generator())
    of_choice, of_codes = vqvae(batch.images, generator(), entropy_temperature=0.5).entropies
    torch.testing.assert_close(loss, plain + 0.3 * (of_choice - 2 * of_codes))
    torch.testing.assert_close(numbers["choice_entropy"], of_choice.detach())
    torch.testing.assert_close(numbers["code_entropy"], of_codes.detach())


def test_the_perceptual_distance_is_added(monkeypatch):
    torch.manual_seed(0)
    lpips = LPIPS()  # untrained: the published weights are not at hand
    asked = []
    monkeypatch.setattr(LPIPS, "load", lambda *files: asked.append(files) or lpips)
    vqvae = make_vqvae()
    batch = make_batch(vqvae, 1)
    plain, _ = VQVAETask(vqvae).loss(vqvae, batch, generator())
    task = VQVAETask(vqvae, VQVAELosses(perceptual=0.7, lpips_vgg16="a.pth", lpips_heads="b.pth"))
    assert asked == [("a.pth", "b.pth")]
    loss, numbers = task.loss(vqvae, batch, generator())
    image, _ = decoded(vqvae, batch.images)
    distance = lpips(image, batch.images).mean()
    assert distance.item() > 0
    torch.testing.assert_close(numbers["perceptual"], distance.detach(), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(loss, plain + 0.7 * distance, rtol=1e-4, atol=1e-5)
    assert task.model is vqvae
    assert not any("features" in name for name in vqvae.state_dict())


def test_a_perceptual_loss_is_never_silently_off(tmp_path):
    with pytest.raises(UserError, match=r"there is no .*absent.pth"):
        VQVAETask(make_vqvae(), VQVAELosses(perceptual=1.0, lpips_vgg16=str(tmp_path / "absent.pth")))
    with pytest.raises(UserError, match="images of 1 or 3 channels and at least 16 pixels per side, got 3 x 8 x 8"):
        VQVAETask(make_vqvae(sides=(1, 2)), VQVAELosses(perceptual=1.0))


def test_the_loop_finds_what_the_task_offers():
    plain, full = VQVAETask(make_vqvae()), VQVAETask(make_vqvae(), VQVAELosses(**ADVERSARIAL))
    for protocol in (Task, SteppedTask, StatefulTask, WatchfulTask, AdversarialTask, WaitingTask):
        assert isinstance(full, protocol)
    assert plain.opponent is None
    assert isinstance(full.opponent, torch.nn.Module)


def test_the_discriminator_trains_from_its_start_and_is_heard_after_its_lead():
    vqvae = make_vqvae()
    batch = make_batch(vqvae)
    losses = VQVAELosses(**ADVERSARIAL, adversarial_start=5, adversarial_lead=3, adversarial_warmup=2)
    task = VQVAETask(vqvae, losses)
    plain, _ = VQVAETask(vqvae).loss(vqvae, batch, generator())
    heard, learned = [], []
    for step in range(11):
        task.begin_step(step)
        loss, numbers = task.loss(vqvae, batch, generator())
        heard.append((loss - plain).item() != 0)
        assert heard[-1] == ("adversarial" in numbers)
        learned.append(task.opponent_learns)
        if learned[-1]:
            opponent_loss, judged = task.opponent_loss(task.opponent, batch, generator())
            opponent_loss.backward()
            assert sum(weight.grad.abs().sum() for weight in task.opponent.parameters()) > 0
            assert "judged_real" in judged
            task.opponent.zero_grad()
    assert learned == [False] * 5 + [True] * 6
    assert heard == [False] * 8 + [True] * 3


def test_the_judgement_is_weighted_against_the_reconstruction_at_the_last_layer():
    vqvae = make_vqvae()
    batch = make_batch(vqvae)
    plain, _ = VQVAETask(vqvae).loss(vqvae, batch, generator())
    task = VQVAETask(vqvae, VQVAELosses(**ADVERSARIAL, l1=0.5, adaptive_limit=100.0))
    task.begin_step(0)
    loss, numbers = task.loss(vqvae, batch, generator())
    image, _ = decoded(vqvae, batch.images)
    distance = (image - batch.images).square().mean() + 0.5 * (image - batch.images).abs().mean()
    judgement = generator_loss(task.opponent(image), "hinge")
    scale = adaptive_weight(distance, judgement, vqvae.decoder.conv_out.weight, 100.0)
    torch.testing.assert_close(numbers["adversarial_weight"], 0.5 * scale, rtol=1e-3, atol=0)
    absolute = 0.5 * (image - batch.images).abs().mean()
    torch.testing.assert_close(loss, plain + absolute + 0.5 * scale * judgement, rtol=1e-3, atol=1e-4)


def test_images_that_a_discriminator_cannot_see_are_refused_at_once():
    with pytest.raises(UserError, match="needs images of 32 pixels or more, got 16x16; lower patch_layers"):
        VQVAETask(make_vqvae(), VQVAELosses(adversarial=1.0, patch_channels=4))


def test_what_the_discriminators_losses_remember_survives_a_checkpoint():
    task, other = (VQVAETask(make_vqvae(), VQVAELosses(**ADVERSARIAL, lecam=1.0)) for _ in range(2))
    batch = make_batch(task.model)
    task.begin_step(0)
    task.loss(task.model, batch, generator())
    task.opponent_loss(task.opponent, batch, generator())
    state = task.state_dict()
    assert state["judged_means"].any()
    other.load_state_dict(state)
    assert torch.equal(other.state_dict()["judged_means"], state["judged_means"])
    assert VQVAETask(make_vqvae()).state_dict() == {}


def test_alarms_name_the_scale():
    task = VQVAETask(make_vqvae())
    row = {f"usage_{scale}": 0.6 for scale in range(3)} | {
        "perplexity_0": 5.0,
        "perplexity_1": 1.1,
        "perplexity_2": 9.0,
    }
    said = [text for step in range(100, 105) for text in task.warnings(step, row)]
    assert len(said) == 1
    assert said[0].startswith("scale 1 (2x2) has collapsed")
    assert task.warnings(105, {"squared_error": 1.0}) == []


def test_a_discriminators_start_does_not_break_training():
    test = shapes("test", size=8).load_many(torch.arange(48))

    def psnr(step, model):
        error = (model.reconstruct(test) - test).square().mean(dim=(1, 2, 3))
        return {"psnr": float(10 * torch.log10(4 / error).mean())}

    codes = {"vocabulary": 64, "codebook": "ema", "kmeans_init": True, "restart_below": 0.05}
    fast = {"norm_groups": 0, "zero_init": True, "commitment": 0.02}  # as in the preset for shapes
    vqvae = make_vqvae(channel_multipliers=(1, 2), width=8, **codes, **fast)
    losses = VQVAELosses(adversarial=0.5, patch_channels=8, patch_layers=1, adversarial_start=45, adversarial_lead=5)
    config = TrainingConfig(steps=90, batch_size=16, learning_rate=2e-3, schedule="constant", ema_decay=0.9)
    look = PeriodicEvaluation(every=15, run=psnr)
    history = train(
        VQVAETask(vqvae, losses), shapes(size=8, length=2000), config, progress=False, device="cpu", evaluate=look
    ).history
    found = {row["step"]: row["psnr"] for row in history if "psnr" in row}
    heard = [row["adversarial_weight"] for row in history if "adversarial_weight" in row]
    assert math.isfinite(heard[-1])
    assert heard[-1] > 0
    assert found[45] > found[15] + 1  # it had learnt something that could be broken
    assert min(psnr for step, psnr in found.items() if step > 45) > found[45] - 1
