"""Latents held against features: the formula, what it does not see, and that it teaches a tokenizer.

DINO's weights cannot be had here: small untrained transformers stand in for it.
"""

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny import tiny_vqvae
from torch import nn

from var.conditions import Condition
from var.configs import config_from_dict, config_to_dict
from var.data.batches import Batch
from var.errors import UserError
from var.recipes.vqvae.alignment import FeatureAlignment
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.task import VQVAETask

PATCH = 4


@pytest.fixture
def alignment():
    """By a transformer of patches of 4 pixels, whose features have 16 numbers."""
    return aligned_by(tiny_vit())


def tiny_vit():
    torch.manual_seed(1)
    return timm.models.VisionTransformer(
        img_size=8, patch_size=PATCH, embed_dim=16, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True
    )


def aligned_by(backbone, margin=0.0, channels=3):
    return FeatureAlignment(backbone, channels=channels, margin=margin)


def images_of(height=3, width=2, count=2, channels=3):
    return torch.rand(count, channels, PATCH * height, PATCH * width) * 2 - 1


def features_of(alignment, images):
    """What the transformer says of each patch, laid out as latents are."""
    seen = alignment.view(images, images.shape[2:])
    grid = (images.shape[2] // PATCH, images.shape[3] // PATCH)
    tokens = alignment.backbone.forward_features(seen)[:, 1:]  # without the class token
    return tokens.mT.unflatten(2, grid).detach()


def likeness(a, b):
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


def test_it_is_the_mean_difference_of_the_cosines_of_all_pairs(alignment):
    images, latents = images_of(), torch.randn(2, 5, 3, 2)
    features = features_of(alignment, images)
    differences = []
    for image in range(2):
        places, seen = latents[image].flatten(1).T, features[image].flatten(1).T
        differences += [
            abs(likeness(places[i], places[j]) - likeness(seen[i], seen[j])) for i in range(6) for j in range(6)
        ]
    assert float(alignment(latents, images)) == pytest.approx(sum(differences) / len(differences), abs=1e-6)
    alignment.margin = 0.3
    excess = [max(0.0, difference - 0.3) for difference in differences]
    assert float(alignment(latents, images)) == pytest.approx(sum(excess) / len(excess), abs=1e-6)


def test_features_are_aligned_with_themselves_however_turned_and_scaled(alignment):
    images = images_of()
    features = features_of(alignment, images)
    turn = torch.linalg.qr(torch.randn(16, 16)).Q
    turned = torch.einsum("ij,njhw->nihw", turn, features) * (torch.rand(2, 1, 3, 2) + 0.5)
    assert float(alignment(turned, images)) < 1e-6
    assert float(alignment(turned.flip(0), images)) > 1e-3  # of the other image


def test_images_of_another_size_are_brought_to_a_patch_per_place(alignment):
    large = images_of(6, 4)
    small = nn.functional.interpolate(large, (3 * PATCH, 2 * PATCH), mode="bilinear", antialias=True)
    latents = torch.randn(2, 5, 3, 2)
    torch.testing.assert_close(alignment(latents, large), alignment(latents, small))


def test_grey_images_are_seen_as_colour_of_equal_channels():
    grey, latents = images_of(channels=1), torch.randn(2, 5, 3, 2)
    one, three = aligned_by(tiny_vit(), channels=1), aligned_by(tiny_vit())
    torch.testing.assert_close(one(latents, grey), three(latents, grey.expand(-1, 3, -1, -1)))


def test_images_that_it_cannot_see_are_refused():
    with pytest.raises(UserError, match="need images of 1 or 3 channels, got 4; set alignment to 0"):
        aligned_by(tiny_vit(), channels=4)


def test_a_place_of_zeros_has_an_ordinary_gradient(alignment):
    latents = torch.randn(2, 5, 3, 2)
    latents[:, :, 0] = 0
    latents.requires_grad_()
    alignment(latents, images_of()).backward()
    assert torch.isfinite(latents.grad).all()
    assert latents.grad.abs().max() < 100


def test_the_backbone_learns_nothing_and_is_nobody_s_weight(monkeypatch, tmp_path):
    task = aligned_task(monkeypatch, tmp_path, alignment=1.0)
    before = {name: value.clone() for name, value in task._alignment.backbone.state_dict().items()}
    train(task, 3)
    after = task._alignment.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert set(task.model.state_dict()) == set(tiny_vqvae(in_channels=3).state_dict())
    assert task.state_dict() == {}


def test_its_weight_counts_in_the_loss_and_its_number_is_logged(monkeypatch, tmp_path):
    light, heavy = (aligned_task(monkeypatch, tmp_path, alignment=weight) for weight in (1.0, 3.0))
    plain = aligned_task(monkeypatch, tmp_path, alignment=0.0)
    losses = [task.loss(task.model, batch(), generator()) for task in (plain, light, heavy)]
    (without, none), (once, number), (thrice, _) = losses
    assert "alignment" not in none
    torch.testing.assert_close(once - without, number["alignment"])
    torch.testing.assert_close(thrice - without, 3 * number["alignment"])
    assert not number["alignment"].requires_grad


def test_a_tokenizer_is_taught_by_it(monkeypatch, tmp_path):
    found = {}
    for weight in (0.0, 10.0):
        task = aligned_task(monkeypatch, tmp_path, alignment=weight)
        train(task, 30)
        judge = FeatureAlignment(stand_in(), channels=3, margin=0.0)
        with torch.no_grad():
            found[weight] = float(judge(task.model(batch().images, generator()).latent, batch().images))
    assert found[10.0] < 0.7 * found[0.0]


def test_runs_without_it_are_told_as_before():
    """Stages of comparisons that were made before there was alignment keep their keys."""
    assert not [name for name in config_to_dict(VQVAELosses()) if "alignment" in name]
    losses = VQVAELosses(alignment=0.5, alignment_margin=0.1)
    assert config_from_dict(VQVAELosses, config_to_dict(losses)) == losses


def test_without_weights_a_task_says_how_to_leave_it_out(monkeypatch):
    monkeypatch.setattr("var.recipes.vqvae.dino.DINO", "test_vit.r160_in1k")  # small, and not in the cache either
    with pytest.raises(UserError, match=r"DINO's features need the weights of .*, alignment=0"):
        VQVAETask(tiny_vqvae(in_channels=3), VQVAELosses(alignment=1.0))


def stand_in():
    torch.manual_seed(2)
    return timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)


def aligned_task(monkeypatch, folder, *, alignment):
    monkeypatch.setattr("var.recipes.vqvae.dino.DINO", "test_vit")
    save_file(stand_in().state_dict(), folder / "dino.safetensors")
    torch.manual_seed(3)
    losses = VQVAELosses(alignment=alignment, alignment_margin=0.0, dino_weights=str(folder / "dino.safetensors"))
    return VQVAETask(tiny_vqvae(in_channels=3), losses)


def batch():
    stream = torch.Generator().manual_seed(5)
    images = torch.rand(6, 3, 6, 6, generator=stream) * 2 - 1
    return Batch(images, Condition.of(torch.zeros(6, dtype=torch.int64)), torch.arange(6))


def generator():
    return torch.Generator().manual_seed(0)


def train(task, steps):
    optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-2)
    for step in range(steps):
        task.begin_step(step)
        loss, _ = task.loss(task.model.train(), batch(), generator())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    task.model.eval()
