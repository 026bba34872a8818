"""What a discriminator sees: the same change for real and fake, decided by its generator."""

import pytest
import torch

from var.recipes.vqvae.diffaugment import CUTOUT, TRANSLATION, diff_augment

POLICIES = ("colour", "translation", "cutout")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_images(batch=5, side=16):
    return torch.rand(batch, 3, side, side) * 2 - 1


def augmented(images, *policies, seed=0):
    (result,) = diff_augment([images], policies, generator(seed))
    return result


def test_without_policies_nothing_changes():
    images = make_images()
    assert torch.equal(augmented(images), images)


@pytest.mark.parametrize("policy", POLICIES)
def test_all_batches_are_changed_alike(policy):
    images, others = make_images(), make_images()
    first, second, third = diff_augment([images, others, images], [policy], generator())
    assert torch.equal(first, third)
    assert not torch.equal(first, images)
    # Every change is affine in the image, so that a mean of images becomes the mean of the changed ones.
    middle = augmented((images + others) / 2, policy)
    torch.testing.assert_close(middle, (first + second) / 2, atol=1e-5, rtol=0)


def test_the_generator_decides():
    images = make_images()
    assert torch.equal(augmented(images, *POLICIES), augmented(images, *POLICIES))
    assert not torch.equal(augmented(images, *POLICIES), augmented(images, *POLICIES, seed=1))
    # One policy draws the same whether others are on or not.
    both = augmented(augmented(images, "colour"), "cutout")
    assert torch.equal(both, augmented(images, "colour", "cutout"))


def test_translation_moves_the_whole_image_over_grey():
    images = make_images(64)
    moved = augmented(images, "translation")
    most = int(16 * TRANSLATION)
    shifts = set()
    for before, after in zip(images, moved, strict=True):
        found = []
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                padded = torch.zeros(3, 16 + 2 * most, 16 + 2 * most)
                padded[:, most + down : most + down + 16, most + right : most + right + 16] = before
                if torch.equal(after, padded[:, most : most + 16, most : most + 16]):
                    found.append((down, right))
        assert len(found) == 1
        shifts.update(found)
    assert {down for down, _ in shifts} == {right for _, right in shifts} == set(range(-most, most + 1))


def test_cutout_blanks_a_square():
    images = make_images(64) + 2  # nowhere 0
    cut = augmented(images, "cutout") == 0
    edge = int(16 * CUTOUT)
    for blank in cut.all(dim=1):
        rows, columns = blank.any(dim=1), blank.any(dim=0)
        assert torch.equal(blank, rows[:, None] & columns[None, :])
        assert edge // 2 <= int(rows.sum()) <= edge
        assert edge // 2 <= int(columns.sum()) <= edge
    assert torch.equal(augmented(images, "cutout")[~cut], images[~cut])


def test_colour_keeps_what_has_no_contrast_flat():
    grey = torch.full((200, 3, 4, 4), 0.25)
    changed = augmented(grey, "colour")
    assert torch.allclose(changed, changed[:, :1, :1, :1].expand_as(changed), atol=1e-6)
    moved = changed[:, 0, 0, 0] - 0.25
    assert -0.5 <= float(moved.min()) < -0.4
    assert 0.4 < float(moved.max()) <= 0.5


def test_colour_scales_saturation_and_contrast_within_their_ranges():
    images = make_images(200)
    changed = augmented(images, "colour")

    def saturation(batch):
        return (batch - batch.mean(dim=1, keepdim=True)).flatten(1).norm(dim=1)

    def contrast(batch):
        grey = batch.mean(dim=1)
        return (grey - grey.mean(dim=(1, 2), keepdim=True)).flatten(1).norm(dim=1)

    factor = contrast(changed) / contrast(images)
    assert 0.5 <= float(factor.min()) < 0.55
    assert 1.45 < float(factor.max()) <= 1.5
    both = saturation(changed) / saturation(images) / factor
    assert 0 <= float(both.min()) < 0.1
    assert 1.9 < float(both.max()) <= 2.0 + 1e-4


def test_gradients_pass():
    images = make_images().requires_grad_()
    augmented(images, *POLICIES).sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
