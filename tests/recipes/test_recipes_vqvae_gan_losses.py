"""Adversarial losses against their formulas."""

import math

import pytest
import torch
from torch import nn

from var.recipes.vqvae.gan_losses import adaptive_weight, discriminator_loss, generator_loss, lecam_penalty, r1_penalty

REAL, FAKE = torch.tensor([[2.0, 0.5]]), torch.tensor([[-3.0, 0.0]])


def softplus(x):
    return math.log1p(math.exp(x))


def test_hinge_by_hand():
    assert float(discriminator_loss(REAL, FAKE, "hinge")) == pytest.approx(((0 + 0.5) / 2 + (0 + 1) / 2) / 2)
    assert float(generator_loss(FAKE, "hinge")) == pytest.approx(1.5)


def test_non_saturating_is_the_cross_entropy():
    expected = ((softplus(-2) + softplus(-0.5)) / 2 + (softplus(-3) + softplus(0)) / 2) / 2
    assert float(discriminator_loss(REAL, FAKE, "non-saturating")) == pytest.approx(expected)
    assert float(generator_loss(FAKE, "non-saturating")) == pytest.approx((softplus(3) + softplus(0)) / 2)


@pytest.mark.parametrize("kind", ["hinge", "non-saturating"])
def test_sides_that_are_told_apart_cost_less(kind):
    assert discriminator_loss(REAL, FAKE, kind) < discriminator_loss(FAKE, REAL, kind)
    assert generator_loss(REAL, kind) < generator_loss(FAKE, kind)


def test_the_adaptive_weight_is_the_ratio_of_gradients():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    loss = (weight * torch.tensor([3.0, 4.0])).sum()  # gradient of norm 5
    judgement = (weight * torch.tensor([0.0, 20.0])).sum()
    found = adaptive_weight(loss, judgement, weight, 100.0)
    assert float(found) == pytest.approx(0.25, rel=1e-5)
    assert not found.requires_grad
    assert float(adaptive_weight(judgement, loss, weight, 100.0)) == pytest.approx(4.0, rel=1e-5)
    assert float(adaptive_weight(judgement, loss, weight, 1.5)) == 1.5
    # Both graphs are still there for the step's own backward pass.
    (loss + judgement).backward()


def test_r1_of_a_linear_judge_is_the_square_of_its_weight():
    weight = torch.randn(3 * 4 * 4, 1, requires_grad=True)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    logits = (images.flatten(1) @ weight).expand(-1, 7)  # seven places of one mind
    penalty = r1_penalty(logits, images)
    torch.testing.assert_close(penalty, weight.square().sum())
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_lecam_pulls_each_side_to_the_mean_of_the_other():
    real = torch.tensor([[1.0, 3.0]], requires_grad=True)
    fake = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    penalty = lecam_penalty(real, fake, torch.tensor(2.0), torch.tensor(-1.5))
    assert penalty.item() == pytest.approx((2.5**2 + 4.5**2) / 2 + (3**2 + 4**2) / 2)
    penalty.backward()
    assert (real.grad > 0).all()  # judged less real by a step down
    assert (fake.grad < 0).all()
