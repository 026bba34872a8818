"""Discriminators: what each logit sees, what is trained, and what is refused. The transformers here are untrained."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from var.errors import UserError
from var.recipes.vqvae.dino import dino_backbone
from var.recipes.vqvae.discriminator import FeatureDiscriminator, PatchGAN, TokenHead

IMAGES = (2, 3, 32, 32)


def tiny_vit():
    """A small untrained stand-in for DINO's ViT-S/16."""
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=4, num_heads=2, num_classes=0, dynamic_img_size=True
    )


def judge(**settings):
    return FeatureDiscriminator(tiny_vit(), **{"blocks": (1, 3), "size": 32, **settings})


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_of_patchgan_sees_its_patch(layers, patch):
    network = PatchGAN(1, channels=2, layers=layers, norm="none")
    side = 2 * patch
    images = torch.rand(1, 1, side, side, requires_grad=True)
    logits = network(images)
    places = int(logits.shape[1] ** 0.5)
    logits.view(places, places)[places // 2, places // 2].backward()
    seen = images.grad[0, 0] != 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == patch


@pytest.mark.parametrize("norm", ["group", "batch", "spectral", "none"])
def test_every_weight_of_patchgan_learns(norm):
    network = PatchGAN(3, channels=8, layers=2, norm=norm)
    images = torch.rand(IMAGES, requires_grad=True)
    network(images).square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert images.grad is not None
    if norm == "spectral":
        network.train()
        for _ in range(50):  # the estimate of the largest singular value needs some passes
            network(torch.rand(IMAGES))
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) == pytest.approx(
                    1, rel=0.02
                )


def test_only_batch_normalisation_lets_images_look_at_each_other():
    images = torch.rand(4, 3, 32, 32)
    for norm in ("group", "none", "spectral"):
        network = PatchGAN(3, channels=8, layers=2, norm=norm).eval()
        torch.testing.assert_close(network(images)[:1], network(images[:1]))
    network = PatchGAN(3, channels=8, layers=2, norm="batch")
    assert not torch.allclose(network(images)[:1], network(images[:1]))


def test_patchgan_refuses_images_below_its_smallest():
    network = PatchGAN(3, channels=4, layers=3)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(UserError, match="needs images of 32 pixels or more, got 16x32; lower patch_layers"):
        network(torch.rand(2, 3, 16, 32))


def test_features_are_judged_token_by_token_and_block_by_block():
    network = judge().eval()
    assert network(torch.rand(IMAGES)).shape == (2, 2 * 16)
    assert network(torch.rand(2, 1, 20, 24)).shape == (2, 2 * 16)  # grey, and brought to 32 pixels
    assert judge(size=48)(torch.rand(IMAGES)).shape == (2, 2 * 36)
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(network(images)[:1], network(images[:1]), atol=1e-5, rtol=1e-4)


def test_only_the_heads_are_trained():
    network = judge()
    assert network.train().backbone.training is False
    images = torch.rand(IMAGES, requires_grad=True)
    network(images).sum().backward()
    assert float(images.grad.abs().sum()) > 0
    assert all(weight.grad is None for weight in network.backbone.parameters())
    assert all(weight.grad is not None for weight in network.heads.parameters())


def test_a_head_mixes_neighbouring_tokens_but_not_images():
    head = TokenHead(16, kernel=3).eval()
    tokens = torch.randn(2, 16, 12)
    torch.testing.assert_close(head(tokens)[:1], head(tokens[:1]))
    assert head(tokens).shape == (2, 12)


def test_impossible_blocks_and_sizes_are_refused():
    with pytest.raises(UserError, match=r"blocks must lie in \[0, 4\)"):
        judge(blocks=(1, 4))
    with pytest.raises(UserError, match="must be a multiple of its patch 8, got 36"):
        judge(size=36)


def test_without_its_weights_dino_names_the_file(monkeypatch):
    monkeypatch.setattr("var.recipes.vqvae.dino.DINO", "test_vit.r160_in1k")  # small, and not in the cache either
    with pytest.raises(UserError, match=r"timm's test_vit.r160_in1k \(model.safetensors.*path as dino_weights"):
        dino_backbone()


def test_weights_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("var.recipes.vqvae.dino.DINO", "test_vit")
    trained = timm.create_model("test_vit", num_classes=0)
    save_file(trained.state_dict(), tmp_path / "dino.safetensors")
    backbone = dino_backbone(tmp_path / "dino.safetensors")
    found = backbone.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in trained.state_dict().items())
    assert FeatureDiscriminator(backbone, blocks=(0, 1), size=32)(torch.rand(IMAGES)).shape == (2, 2 * 4)
    save_file({"blocks.0.norm1.weight": torch.ones(64)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other.safetensors must hold the weights of .*, but: missing cls_token, "):
        dino_backbone(tmp_path / "other.safetensors")
