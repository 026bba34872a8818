"""The U-Net: shapes, conditioning, initialisation, and what its config refuses."""

import pytest
import torch
from tiny import tiny_unet, unet_config

from diffusion_baseline.unet import UNet, timestep_features
from var.errors import UserError

TINY = {"image_size": 8, "attention_levels": (1,), "head_width": 8}


def trained(config):
    """A network whose branches that start at zero are not zero any more."""
    torch.manual_seed(0)
    unet = UNet(config)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return unet.eval()


def call(unet, x, t=5, label=1):
    return unet(x, torch.full((len(x),), t), torch.full((len(x),), label))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"image_size": (4, 12)},
        {"image_channels": 3, "multipliers": (1, 2, 2), "residual_blocks": 2, "attention_levels": (0, 2)},
        {"multipliers": (1,), "attention_levels": ()},
        {"image_size": 16, "multipliers": (2, 1, 3), "dropout": 0.5},
    ],
)
def test_output_has_the_shape_of_the_input(change):
    config = unet_config(**{**TINY, **change})
    x = torch.randn(2, config.image_channels, *config.size)
    assert call(trained(config), x).shape == x.shape


def test_it_starts_as_zero_and_every_residual_branch_too():
    unet, x = tiny_unet(**TINY), torch.randn(2, 1, 8, 8)
    assert (call(unet, x) == 0).all()
    stage = unet.down[-1]
    h = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(stage(h[:, :8], torch.randn(2, 16)), stage.residual.shortcut(h[:, :8]))
    torch.testing.assert_close(unet.middle[0](h, torch.randn(2, 16)), h)


def test_every_parameter_but_the_unused_label_rows_learns():
    unet = trained(unet_config(**TINY))
    call(unet, torch.randn(2, 1, 8, 8)).square().sum().backward()
    still = [name for name, parameter in unet.named_parameters() if not parameter.grad.any()]
    assert still == []
    assert unet.label.weight.grad.any(dim=1).tolist() == [False, True, False, False]


def test_it_depends_on_timestep_label_and_far_pixels():
    unet, x = trained(unet_config(**TINY)), torch.randn(1, 1, 8, 8)
    base = call(unet, x)
    assert not torch.allclose(base, call(unet, x, t=6), atol=1e-4)
    assert not torch.allclose(base, call(unet, x, label=3), atol=1e-4)  # the null label is one more label
    far = x.clone()
    far[..., 7, 7] += 1
    assert not torch.allclose(base[..., 0, 0], call(unet, far)[..., 0, 0], atol=1e-6)


def test_samples_of_a_batch_do_not_see_each_other():
    unet, x = trained(unet_config(**TINY)), torch.randn(4, 1, 8, 8)
    timesteps, labels = torch.tensor([0, 10, 500, 999]), torch.tensor([3, 0, 1, 2])
    together = unet(x, timesteps, labels)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], unet(x[i : i + 1], timesteps[i : i + 1], labels[i : i + 1]))


def test_half_precision_weights_keep_the_dtype_of_the_images():
    unet = trained(unet_config(**TINY)).to(torch.bfloat16)
    assert call(unet, torch.randn(1, 1, 8, 8)).dtype == torch.float32


def test_timestep_features_are_sines_and_cosines():
    features = timestep_features(torch.tensor([0, 7]), 4)
    angles = torch.tensor([7.0, 7.0 / 100])
    expected = torch.stack([torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.cat([angles.sin(), angles.cos()])])
    torch.testing.assert_close(features, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"embedding_width": 15}, "embedding_width must be even .* got 15"),
        ({"multipliers": ()}, r"multipliers must be positive, one per level, got \(\)"),
        ({"multipliers": (1, 0)}, "multipliers must be positive"),
        ({"image_size": 9}, "image_size must be a multiple of 2 for 2 levels, got 9"),
        ({"image_size": (8, 9)}, r"image_size must be a multiple of 2 .* got \(8, 9\)"),
        ({"norm_groups": 3}, "level 0 has 8 channels, not a multiple of norm_groups 3"),
        ({"attention_levels": (2,)}, "attention needs a level of 0 to 1 .* got level 2"),
        ({"head_width": 12}, "head_width = 12 divides, got level 1"),
        ({"dropout": 1.0}, r"dropout .* must lie in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(UserError, match=message):
        unet_config(**{**TINY, **change})


def test_round_trip_on_disk_is_exact(tmp_path):
    unet, x = trained(unet_config(**TINY)), torch.randn(2, 1, 8, 8)
    unet.save_pretrained(tmp_path)
    again = UNet.from_pretrained(tmp_path)
    assert again.config == unet.config
    assert torch.equal(call(again, x), call(unet, x))
