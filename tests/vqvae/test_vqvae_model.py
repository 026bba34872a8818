"""The tokenizer as a whole: images to token maps and back, what training changes and what it does not."""

import math
import re

import pytest
import torch
from tiny import tiny_vqvae

from var.errors import UserError
from var.vqvae import VQVAEConfig

SIDES = {"square": (1, 2, 4), "rectangular": ((1, 2), (2, 2), (3, 4))}


def make_vqvae(sides=(1, 2, 4), **settings):
    return tiny_vqvae(**{"sides": sides, "attention": True, **settings}).eval()


def make_images(vqvae, batch=3):
    return torch.rand(batch, 1, *vqvae.config.image_size) * 2 - 1


def same_state(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def copied(vqvae):
    return {name: value.clone() for name, value in vqvae.state_dict().items()}


@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
@torch.no_grad()
def test_decoding_encoded_tokens_is_the_reconstruction(sides):
    vqvae = make_vqvae(sides)
    images = make_images(vqvae)
    token_maps = vqvae.encode(images)
    assert [tuple(token_map.shape) for token_map in token_maps] == [(3, *s) for s in vqvae.config.schedule.shapes]
    assert all(token_map.dtype == torch.long for token_map in token_maps)
    assert len(torch.cat([token_map.flatten() for token_map in token_maps]).unique()) > 2
    reconstruction = vqvae.reconstruct(images)
    assert reconstruction.shape == images.shape
    assert torch.equal(vqvae.decode(token_maps), reconstruction)


@torch.no_grad()
def test_decoded_images_stay_in_range():
    vqvae = make_vqvae()
    vqvae.decoder.conv_out.weight.mul_(50)
    images = vqvae.reconstruct(make_images(vqvae))
    assert images.min() == -1
    assert images.max() == 1


@torch.no_grad()
def test_the_first_token_maps_decode_to_what_is_known_so_far():
    vqvae = make_vqvae()
    token_maps = vqvae.encode(make_images(vqvae))
    accumulated = vqvae.quantizer.accumulate(token_maps)
    for known in (1, 2, 3):
        expected = vqvae.decode_latent(accumulated[known - 1])
        assert torch.equal(vqvae.decode(token_maps[:known]), expected)
    assert not torch.equal(vqvae.decode(token_maps[:1]), vqvae.decode(token_maps))


@torch.no_grad()
def test_tokens_of_an_image_do_not_depend_on_the_batch():
    vqvae = make_vqvae()
    images = make_images(vqvae, 4)
    together = vqvae.encode(images)
    for index in range(4):
        alone = vqvae.encode(images[index : index + 1])
        assert all(torch.equal(a[index : index + 1], b) for a, b in zip(together, alone, strict=True))


@torch.no_grad()
def test_patches_are_told_by_themselves():
    torch.manual_seed(2)
    vqvae = make_vqvae(((3, 4),), encoder="patches")
    images = make_images(vqvae)
    changed = images.clone()
    changed[:, :, 2:4, 4:6] = 1.0  # the patch in the second row and third column
    apart = (vqvae.latent(images) != vqvae.latent(changed)).any(dim=1)
    assert apart.nonzero()[:, 1:].unique(dim=0).tolist() == [[1, 2]]
    plain = vqvae.latent(torch.full_like(images[:1], 0.3)).flatten(2)
    torch.testing.assert_close(plain, plain[:, :, :1].expand_as(plain))


@pytest.mark.parametrize("settings", [{"attention": False}, {"attention": True}, {"encoder": "patches"}], ids=str)
def test_the_reconstruction_error_reaches_every_weight(settings):
    vqvae = make_vqvae(**settings).train()
    images = make_images(vqvae)
    out = vqvae(images)
    ((out.reconstruction - images).square().mean() + out.quantization_loss).backward()
    untouched = [name for name, weight in vqvae.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert untouched == []


def test_a_training_pass_reports_tokens_and_the_use_of_the_codes():
    vqvae = make_vqvae().train()
    images = make_images(vqvae)
    out = vqvae(images)
    assert all(torch.equal(a, b) for a, b in zip(out.token_maps, vqvae.eval().encode(images), strict=True))
    # After one step the statistics are those of this step alone.
    for scale, tokens in enumerate(out.token_maps):
        share = torch.bincount(tokens.flatten(), minlength=16) / tokens.numel()
        entropy = -sum(float(p) * math.log(p) for p in share if p > 0)
        assert float(out.usage[scale]) == pytest.approx(int((share > 0).sum()) / 16)
        assert float(out.perplexity[scale]) == pytest.approx(math.exp(entropy), rel=1e-5)


@pytest.mark.parametrize("codebook", ["gradient", "ema"])
def test_evaluation_learns_nothing(codebook):
    vqvae = make_vqvae(codebook=codebook, kmeans_init=True)
    before = copied(vqvae)
    images = make_images(vqvae)
    vqvae(images)
    vqvae.reconstruct(images)
    assert same_state(before, vqvae.state_dict())
    vqvae.train()(images, torch.Generator())
    assert not same_state(before, vqvae.state_dict())


def test_the_first_batch_places_the_codes_once():
    vqvae = make_vqvae(codebook="gradient", kmeans_init=True).train()
    images = make_images(vqvae, 8)
    before = vqvae.quantizer.codebook.weight.data.clone()
    vqvae(images, torch.Generator())
    placed = vqvae.quantizer.codebook.weight.data.clone()
    assert not torch.equal(before, placed)
    vqvae(images, torch.Generator())
    assert torch.equal(vqvae.quantizer.codebook.weight.data, placed)
    # Codes at the centres of what is met describe it better than random ones.
    errors = {}
    for name, codes in {"random": before, "placed": placed}.items():
        vqvae.quantizer.codebook.weight.data.copy_(codes)
        errors[name] = vqvae.eval()(images).quantization_loss.item()
    assert errors["placed"] < errors["random"] / 2


def test_training_draws_from_its_generator_only():
    def trained(seed):
        torch.manual_seed(1)
        vqvae = make_vqvae(codebook="ema", kmeans_init=True, restart_below=1.0).train()
        images = make_images(vqvae, 8)
        before = torch.get_rng_state()
        generator = torch.Generator().manual_seed(seed)
        for _ in range(3):
            vqvae(images, generator)
        assert torch.equal(torch.get_rng_state(), before)
        return copied(vqvae)

    assert same_state(trained(4), trained(4))
    assert not same_state(trained(4), trained(5))


def test_under_autocast_the_quantiser_works_in_the_precision_of_the_weights():
    vqvae = make_vqvae()
    images = make_images(vqvae)
    expected = vqvae(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert vqvae.latent(images).dtype == torch.float32
        assert vqvae.quantizer.accumulate(expected.token_maps)[-1].dtype == torch.float32
        assert vqvae.teacher_inputs(vqvae.encode(images)).dtype == torch.float32
        out = vqvae(images)
    assert out.quantization_loss.dtype == torch.float32
    torch.testing.assert_close(out.quantization_loss, expected.quantization_loss, rtol=0.05, atol=0)
    assert not torch.equal(out.reconstruction, expected.reconstruction)


def test_tokens_do_not_depend_on_autocast():
    vqvae = make_vqvae(vocabulary=256)
    images = make_images(vqvae, 64)
    expected = vqvae.encode(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = vqvae.encode(images)
        half = vqvae.quantizer.encode(vqvae.latent(images))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(half, expected, strict=True))


def test_training_goes_on_from_trained_weights_with_another_way_to_learn_codes():
    trained = make_vqvae()
    images = make_images(trained)
    vqvae = make_vqvae(codebook="ema", restart_below=0.01, scale_dropout=0.2)
    vqvae.continue_from(trained)
    assert same_state(trained.state_dict(), vqvae.state_dict())
    codebook = vqvae.quantizer.codebook
    # A code that is not met keeps its place, one that is moves a little: no sudden forgetting.
    before = codebook.weight.clone()
    vqvae.train()(images, torch.Generator().manual_seed(0))
    moved = (codebook.weight - before).norm(dim=1) / before.norm(dim=1)
    assert 0 < float(moved.max()) < 0.5
    back = make_vqvae()
    back.continue_from(vqvae)
    assert same_state(back.state_dict(), vqvae.state_dict())
    with pytest.raises(UserError, match="trained weights fit tokenizers of the same shape only"):
        make_vqvae(vocabulary=8).continue_from(trained)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 1, 8, 9), "must be 8x8 .*got 8x9"),
        (torch.zeros(1, 3, 8, 8), "must have 1 channel"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.float64) + 1.5, r"must lie in \[-1, 1\]"),
        (torch.full((1, 1, 8, 8), math.nan), "must be finite"),
    ],
)
def test_images_that_do_not_fit(images, message):
    with pytest.raises(UserError, match=message):
        make_vqvae().encode(images)


def test_token_maps_that_do_not_fit():
    vqvae = make_vqvae()
    token_maps = vqvae.encode(make_images(vqvae))
    for wrong in ([], token_maps[1:], [*token_maps, token_maps[-1]]):
        for method in (vqvae.decode, vqvae.teacher_inputs):
            with pytest.raises(UserError, match=re.escape("must have the shapes ((1, 1), (2, 2), (4, 4))")):
                method(wrong)
    for token in (-1, 16):
        damaged = [token_map.clone() for token_map in token_maps]
        damaged[1][0, 0, 0] = token
        with pytest.raises(UserError, match=r"must lie in \[0, 16\).*at scale 1"):
            vqvae.decode(damaged)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"vocabulary": 1}, "at least 2 codes, got 1"),
        ({"channel_multipliers": ()}, "channel_multipliers must be positive"),
        ({"channel_multipliers": (1, 0)}, "channel_multipliers must be positive"),
        ({"base_channels": 100}, "divisible by norm_groups=32, got 100"),
        ({"phi": 0}, "phi must be at least 1 or 'per-scale', got 0"),
        ({"restart_below": -0.1}, "restart_below must be 0"),
        ({"scale_dropout": 1.5}, "scale_dropout is a share and must lie in"),
        ({"sides": (4,), "scale_dropout": 0.5}, "scale_dropout leaves out finer scales"),
        ({"sides": (2, 1)}, "must grow"),
        ({"blank": 1.5}, "blank is a share and must lie in"),
        ({"blank": 0.1}, "a blank code keeps its place .* got 'gradient', normalize_codes=False"),
        ({"blank": 0.1, "codebook": "ema", "normalize_codes": True}, "got 'ema', normalize_codes=True; change them"),
    ],
)
def test_impossible_configurations(settings, message):
    with pytest.raises(UserError, match=message):
        VQVAEConfig(**settings)


def test_image_sizes_follow_from_the_configuration():
    assert VQVAEConfig().downsampling == 16
    assert VQVAEConfig().image_size == (256, 256)
    assert VQVAEConfig(sides=(1, (2, 4)), channel_multipliers=(1, 2)).image_size == (4, 8)
    assert VQVAEConfig(sides=(1, 8), channel_multipliers=(1,)).image_size == (8, 8)


def test_residual_branches_may_begin_as_nothing():
    torch.manual_seed(2)
    plain = make_vqvae(attention=True)
    torch.manual_seed(2)
    vqvae = make_vqvae(attention=True, zero_init=True)
    changed = {name for name, value in vqvae.state_dict().items() if not torch.equal(value, plain.state_dict()[name])}
    assert {name.rsplit(".", 2)[-2] for name in changed} == {"conv2", "projection"}
    hidden = torch.randn(2, 16, 4, 4)
    assert torch.equal(vqvae.decoder.middle(hidden), hidden)
    assert not torch.equal(plain.decoder.middle(hidden), hidden)
