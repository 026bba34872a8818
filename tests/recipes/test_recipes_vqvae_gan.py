"""The opponent in training: what it tells the autoencoder, what it learns from, what it remembers."""

import pytest
import timm
import torch
from torch import nn

from var.recipes.vqvae.diffaugment import diff_augment
from var.recipes.vqvae.discriminator import FeatureDiscriminator
from var.recipes.vqvae.gan import Adversary, build_adversary
from var.recipes.vqvae.gan_losses import discriminator_loss, generator_loss, lecam_penalty
from var.recipes.vqvae.losses import VQVAELosses

SMALL = {"adversarial": 0.5, "patch_channels": 4, "patch_layers": 2}


def make_adversary(seed=0, **settings):
    return build_adversary(VQVAELosses(**{**SMALL, **settings}), 3, seed)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_images(batch=4):
    return torch.rand(batch, 3, 16, 16) * 2 - 1


def decoded():
    """A reconstruction that depends on one "last layer", its loss, and that layer."""
    layer = nn.Parameter(torch.tensor(0.7))
    images = make_images()
    reconstruction = layer * images
    return reconstruction, (reconstruction - images).square().mean(), layer


@pytest.mark.parametrize("adaptive", [True, False])
def test_the_judgement_is_the_weighted_generator_loss_of_augmented_reconstructions(adaptive):
    adversary = make_adversary(adaptive=adaptive, adaptive_limit=0.01, gan_loss="non-saturating")
    reconstruction, loss, layer = decoded()
    judgement, numbers = adversary.judgement(reconstruction, loss, layer, 0.3, generator())
    (seen,) = diff_augment([reconstruction], ("colour", "translation", "cutout"), generator())
    expected = generator_loss(adversary.discriminator(seen), "non-saturating")
    weight = 0.3 * (0.01 if adaptive else 1.0)  # its gradient is far smaller than a hundredth of the other one
    torch.testing.assert_close(judgement, weight * expected)
    torch.testing.assert_close(numbers["adversarial"], expected.detach())
    assert float(numbers["adversarial_weight"]) == pytest.approx(weight)
    judgement.backward()
    assert layer.grad is not None


def test_the_discriminator_learns_from_both_sides_augmented_alike():
    adversary = make_adversary()
    images, (reconstruction, _, layer) = make_images(), decoded()
    loss, numbers = adversary.loss(adversary.discriminator, images, reconstruction, generator())
    pair = diff_augment([images, reconstruction], adversary.losses.augmentations, generator())
    real, fake = (adversary.discriminator(side) for side in pair)
    torch.testing.assert_close(loss, discriminator_loss(real, fake, "hinge"))
    torch.testing.assert_close(numbers["judged_real"], real.mean().detach())
    torch.testing.assert_close(numbers["judged_fake"], fake.mean().detach())
    loss.backward()
    assert layer.grad is None
    assert all(weight.grad is not None for weight in adversary.discriminator.parameters())
    assert set(numbers) == {"judged_real", "judged_fake"}


def test_both_sides_of_equal_images_are_judged_alike():
    adversary, images = make_adversary(), make_images()
    _, numbers = adversary.loss(adversary.discriminator, images, images, generator())
    assert float(numbers["judged_real"]) == pytest.approx(float(numbers["judged_fake"]), abs=1e-5)


@pytest.mark.parametrize("kind", ["patchgan", "transformer"])
def test_r1_is_added_and_can_be_descended(kind):
    torch.manual_seed(1)
    adversary = make_adversary(r1=10.0, augmentations=())
    if kind == "transformer":  # untrained, in place of DINO's
        vit = timm.models.VisionTransformer(
            img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True
        )
        adversary = Adversary(adversary.losses, FeatureDiscriminator(vit, blocks=(0, 1), size=16).eval())
    images = make_images()
    loss, numbers = adversary.loss(adversary.discriminator, images, -images, generator())
    with torch.no_grad():
        real, fake = adversary.discriminator(images), adversary.discriminator(-images)
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(adversary.discriminator(images).mean(1).sum(), images)
    penalty = gradient.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(numbers["r1"], penalty, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(loss.detach(), discriminator_loss(real, fake, "hinge") + 5 * penalty, rtol=1e-3, atol=0)
    loss.backward()


def test_lecam_remembers_the_judgements_of_earlier_steps():
    adversary = make_adversary(lecam=2.0, lecam_decay=0.75, augmentations=())
    images = make_images()
    means = None
    for step in range(3):
        fakes = images * (0.5 - step)
        loss, numbers = adversary.loss(adversary.discriminator, images, fakes, generator())
        real, fake = adversary.discriminator(images).detach(), adversary.discriminator(fakes).detach()
        met = torch.stack((real.mean(), fake.mean()))
        past = met if means is None else means
        penalty = lecam_penalty(real, fake, past[0], past[1])
        torch.testing.assert_close(loss.detach(), discriminator_loss(real, fake, "hinge") + 2 * penalty)
        torch.testing.assert_close(numbers["lecam"], penalty)
        means = met if means is None else 0.75 * means + 0.25 * met
        torch.testing.assert_close(adversary.means, means)


def test_the_weights_depend_on_the_seed_only():
    torch.manual_seed(5)
    first = make_adversary(3).discriminator.state_dict()
    torch.manual_seed(6)
    second = make_adversary(3).discriminator.state_dict()
    other = make_adversary(4).discriminator.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
